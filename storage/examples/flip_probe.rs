//! Flips bytes at random places of a journal's data file and tells what the next start makes of it. The journal was `closed`, or, with the
//! word `killed`, copied while it was open, which is what the end of its process leaves.
//!
//! Each place is tried on a fresh copy and in a process of its own, because damage may end or hang one. Each copy is tried with the
//! journal's file `acknowledged` and without it, which tells what that file is worth: damage of the newest batches looks like a torn end.
//! Of each journal that is refused it is told whether its folder is as it was, and what can be rescued of it. Ends with 1 when a journal
//! with that file showed anything but its whole content or an error, when a refused one was changed, or when what was rescued is wrong.
//!
//!     cargo run -p hearth-storage --example flip_probe [places] [bytes] [seed] [closed|killed] [batches]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use storage::{Batch, Journal, Options, READ_LIMIT, offline::Offline};

const PLACES: usize = 30;
const BYTES: usize = 16;
const BATCHES: usize = 3000;
/// Fewer than batches, so that the file holds live and dead records, as a real one does.
const KEYS: u64 = 400;
const TABLE: &str = "states";
/// A start that takes longer than this hangs; usual ones take a few milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a child is looked at: there is no wait with a deadline.
const POLL: Duration = Duration::from_millis(5);

fn value(step: u64) -> Vec<u8> {
    let mut bytes = step.to_be_bytes().to_vec();
    bytes.extend((0..200 + step % 200).map(|at| (at.wrapping_mul(step) >> 3) as u8));
    bytes
}

fn make(path: &Path, batches: u64) -> Journal {
    let journal = Journal::open(Options::new(path)).expect("a new journal opens");
    for step in 1..=batches {
        let batch = Batch::default().put(TABLE, format!("{:04}", step % KEYS), value(step)).event(value(step));
        journal.commit_blocking(batch).expect("the journal commits");
    }
    journal
}

/// What a start finds: one word for the table, then the reason.
fn look(path: &Path, batches: u64) -> String {
    let journal = match Journal::open(Options::new(path)) {
        Ok(journal) => journal,
        Err(error) => return format!("refused to open: {error:?}"),
    };
    let records = match journal.load(TABLE) {
        Ok(loaded) => loaded.records,
        Err(error) => return format!("refused to read: {error:?}"),
    };
    let (latest, mut after, mut events) = (journal.latest(), journal.oldest().saturating_sub(1), Vec::new());
    while after < latest {
        match journal.read(after, READ_LIMIT) {
            Ok(page) => events.extend(page),
            Err(error) => return format!("refused to read: {error:?}"),
        }
        after = events.last().map_or(latest, |(cursor, _)| *cursor);
    }
    let state = |last: u64| (1..=last).map(|step| (format!("{:04}", step % KEYS), value(step))).collect::<BTreeMap<_, _>>();
    let is_state_at = |last| {
        events.len() as u64 == last
            && events.iter().zip(1..).all(|((cursor, bytes), step)| *cursor == step && **bytes == value(step))
            && records.iter().cloned().collect::<BTreeMap<_, _>>() == state(last)
    };
    match latest {
        all if all == batches && is_state_at(all) => "whole".into(),
        earlier if is_state_at(earlier) => format!("rolled back: to batch {earlier} of {batches}"),
        _ => format!("wrong: {} records, {} events up to {latest}", records.len(), events.len()),
    }
}

/// As `look`, in a child.
fn ask(path: &Path, batches: u64) -> io::Result<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("look")
        .arg(path)
        .arg(batches.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if start.elapsed() > DEADLINE => {
                child.kill()?;
                child.wait()?;
                return Ok("hung: ended after the deadline".into());
            }
            None => std::thread::sleep(POLL),
        }
    };
    let mut text = String::new();
    child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut text))?;
    Ok(if status.success() { text.trim().into() } else { format!("died: {status}") })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => fs::copy(entry.path(), to.join(entry.file_name())).map(drop)?,
        }
    }
    Ok(())
}

/// Every file with its bytes.
fn picture(path: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(picture(&entry.path())?),
            false => drop(files.insert(entry.path(), fs::read(entry.path())?)),
        }
    }
    Ok(files)
}

/// What the repair would keep: records as they were last, older ones, events; or what is wrong with it.
#[derive(Default)]
struct Kept {
    newest: u64,
    older: u64,
    events: u64,
    wrong: u64,
}

fn rescue(path: &Path, batches: u64) -> io::Result<Kept> {
    let rescued = Offline::open(path).map_err(io::Error::other)?.read()?;
    let mut kept = Kept::default();
    for ((_, key), bytes) in &rescued.records {
        let step = bytes.first_chunk().map_or(0, |step| u64::from_be_bytes(*step));
        let known = *bytes == value(step) && format!("{:04}", step % KEYS) == *key;
        let newest = step + KEYS > batches && step <= batches;
        *(if !known || (!newest && rescued.losses.is_empty()) {
            &mut kept.wrong
        } else if newest {
            &mut kept.newest
        } else {
            &mut kept.older
        }) += 1;
    }
    for (cursor, bytes) in &rescued.events {
        *(if *bytes == value(*cursor) { &mut kept.events } else { &mut kept.wrong }) += 1;
    }
    Ok(kept)
}

/// A place inside what was written: where all is zero, sled uses nothing.
fn place(data: &Path, count: usize, rng: &mut StdRng) -> io::Result<u64> {
    let file = File::open(data)?;
    let length = file.metadata()?.len() - count as u64;
    loop {
        let (at, mut bytes) = (rng.random_range(0..length), vec![0; count]);
        file.read_exact_at(&mut bytes, at)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(at);
        }
    }
}

/// Twice is as it was.
fn invert(data: &Path, at: u64, count: usize) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(data)?;
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, at)?;
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    file.write_all_at(&bytes, at)
}

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    if let [word, path, batches] = &arguments[..]
        && let ("look", Ok(batches)) = (word.as_str(), batches.parse())
    {
        return writeln!(out, "{}", look(Path::new(path), batches)).map(|()| ExitCode::SUCCESS);
    }
    let number = |at: usize, usual: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (places, count) = (number(0, PLACES), number(1, BYTES));
    let batches = number(4, BATCHES) as u64;
    let mut rng = StdRng::seed_from_u64(number(2, 1) as u64);
    let dir = tempfile::tempdir()?;
    let (good, guarded, bare) = (dir.path().join("good"), dir.path().join("guarded"), dir.path().join("bare"));
    let journal = make(&bare, batches);
    if arguments.get(3).is_some_and(|word| word == "killed") {
        copy(&bare, &good)?;
        drop(journal);
    } else {
        drop(journal);
        copy(&bare, &good)?;
    }
    // A copy: a start writes a snapshot of sled's, and with one the end of the log is no longer where sled looks for a torn one.
    copy(&good, &guarded)?;
    writeln!(out, "{} bytes of data; untouched: {}", fs::metadata(good.join("db"))?.len(), ask(&guarded, batches)?)?;
    let mut totals: [BTreeMap<String, usize>; 2] = Default::default();
    let (mut refused, mut untouched, mut sum) = (0, 0, Kept::default());
    for _ in 0..places {
        copy(&good, &guarded)?;
        let at = place(&guarded.join("db"), count, &mut rng)?;
        invert(&guarded.join("db"), at, count)?;
        copy(&guarded, &bare)?;
        fs::remove_file(bare.join("acknowledged"))?;
        let before = picture(&guarded)?;
        let found = [ask(&guarded, batches)?, ask(&bare, batches)?];
        if found[0].starts_with("refused") {
            refused += 1;
            untouched += u64::from(picture(&guarded)? == before);
            let kept = rescue(&guarded, batches)?;
            sum.newest += kept.newest;
            sum.older += kept.older;
            sum.events += kept.events;
            sum.wrong += kept.wrong;
        }
        for (total, text) in totals.iter_mut().zip(&found) {
            *total.entry(text.split(':').next().unwrap_or(text).to_owned()).or_default() += 1;
        }
        writeln!(out, "at {at}: {}\n    without `acknowledged`: {}", found[0], found[1])?;
    }
    let records = refused * KEYS.min(batches);
    writeln!(out, "{places} places of {count} bytes: {:?}; without `acknowledged`: {:?}", totals[0], totals[1])?;
    writeln!(
        out,
        "of {refused} refused: {untouched} untouched; rescued: {} of {records} records, {} older, {} of {} events, {} wrong",
        sum.newest,
        sum.older,
        sum.events,
        refused * batches,
        sum.wrong
    )?;
    let honest = ["whole", "refused to open", "refused to read"];
    let good = totals[0].keys().all(|word| honest.contains(&word.as_str())) && untouched == refused && sum.wrong == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
