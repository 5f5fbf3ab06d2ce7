//! The times of a console's log beside it, for the next hearth: a line a mark, and one more for a mark that was kept and that more has joined;
//! points of the log as it is cut now. What can't be written yet is written with the next, and what can't be read is lost: times are a help.

use super::times::{MOST_MARKS, Mark, Times, Unkept};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const NAME: &str = "console.times";
/// A line has at most 40 bytes: twice as many as there are marks, before they are written anew.
const MOST_BYTES: u64 = MOST_MARKS as u64 * 2 * 40;

/// `cut`: how much of the log is cut off.
pub fn read(folder: &Path, cut: u64) -> Times {
    let mut text = String::new();
    let read = File::open(folder.join(NAME)).and_then(|file| file.take(MOST_BYTES * 2).read_to_string(&mut text));
    let marks = text.lines().map_while(|line| parse(line, cut));
    let mut times = Times::remembered(marks);
    // A half line, or something else, ends what is taken, and what was added behind it would be lost to the next hearth, too. Lines that stand for
    // one mark are no harm, and this is a time to make one of them.
    let is_as_written = match read {
        Ok(_) => times.marks().count() == text.lines().count() && (text.is_empty() || text.ends_with('\n')),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_as_written {
        times.set_unkept(Unkept::All);
    }
    times
}

fn parse(line: &str, cut: u64) -> Option<Mark> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (at, end, seen_ms) = (number()?, number()?, number()?);
    let late = match words.next()? {
        "late" => true,
        "seen" => false,
        _ => return None,
    };
    Some(Mark { at: at.checked_add(cut)?, end: end.checked_add(cut)?, seen_ms, late })
}

fn line(mark: &Mark, cut: u64) -> String {
    let word = if mark.late { "late" } else { "seen" };
    format!("{} {} {} {word}\n", mark.at.saturating_sub(cut), mark.end.saturating_sub(cut), mark.seen_ms)
}

/// Adds what is not in the file yet; writes all anew when the file has grown long, or is not what it should be. What fails is done by the next call.
pub fn keep(folder: &Path, times: &mut Times, cut: u64) {
    let newest = match times.unkept() {
        Unkept::Some(0) => return,
        Unkept::Some(newest) => newest,
        Unkept::All => return write(folder, times, cut),
    };
    let mut lines: Vec<String> = times.marks().rev().take(newest).map(|mark| line(mark, cut)).collect();
    lines.reverse();
    let added = || {
        let mut file = File::options().create(true).append(true).mode(0o600).open(folder.join(NAME))?;
        file.write_all(lines.concat().as_bytes())?;
        Ok::<_, io::Error>(file.metadata()?.len())
    };
    match added() {
        Ok(length) if length > MOST_BYTES => write(folder, times, cut),
        Ok(_) => times.set_unkept(Unkept::Some(0)),
        // A part of it may be there.
        Err(_) => times.set_unkept(Unkept::All),
    }
}

/// All of them anew, as after a cut.
pub fn write(folder: &Path, times: &mut Times, cut: u64) {
    let text: String = times.marks().map(|mark| line(mark, cut)).collect();
    let partial = folder.join(NAME).with_extension("partial");
    let written = || {
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&partial, folder.join(NAME))
    };
    match written() {
        Ok(()) => times.set_unkept(Unkept::Some(0)),
        // Of an older cut: every time in it would be another line's.
        Err(_) => forget(folder, times),
    }
}

/// Before a cut: a hearth that dies in it leaves no times, rather than those of other lines.
pub fn forget(folder: &Path, times: &mut Times) {
    times.set_unkept(Unkept::All);
    let _absent = fs::remove_file(folder.join(NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hearth_has_the_same_times_also_after_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::default();
        for (end, now) in [(10, 1_000), (20, 2_000), (30, 90_000)] {
            times.look(end, now, Some(900));
            keep(folder.path(), &mut times, 0);
        }
        let all = |times: &Times| times.marks().copied().collect::<Vec<_>>();
        assert_eq!(all(&read(folder.path(), 0)), all(&times));
        times.cut(15);
        write(folder.path(), &mut times, 15);
        let again = read(folder.path(), 0);
        assert_eq!(
            all(&again).iter().map(|mark| (mark.at, mark.seen_ms, mark.late)).collect::<Vec<_>>(),
            [(0, 2_000, false), (5, 90_000, true)]
        );
    }

    #[test]
    fn it_stays_short_and_nonsense_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::default();
        for n in 0..20_000 {
            times.look(n + 1, n * 1_000, Some(0));
            keep(folder.path(), &mut times, 0);
        }
        let path = folder.path().join(NAME);
        assert!(fs::metadata(&path).unwrap().len() <= MOST_BYTES + 64);
        assert_eq!(read(folder.path(), 0).of(19_999).unwrap().seen_ms, 19_999_000);
        for nonsense in [&b"\xff\xfe"[..], b"0 5 7 seen\n1 2", b"0 5 7 seen\nx", b""] {
            fs::write(&path, nonsense).unwrap();
            assert!(read(folder.path(), u64::MAX).marks().count() == 0, "it would be beyond all numbers");
            assert!(read(folder.path(), 0).marks().count() <= 1);
        }
        forget(folder.path(), &mut times);
        assert_eq!(read(folder.path(), 0).marks().count(), 0);
    }

    #[test]
    fn what_could_not_be_kept_is_kept_later_and_behind_a_torn_line_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, partial) = (folder.path().join(NAME), folder.path().join(NAME).with_extension("partial"));
        let mut times = Times::default();
        let mut look = |end: u64| {
            times.look(end, end * 1_000, Some(0));
            keep(folder.path(), &mut times, 0);
        };
        // Folders in their places: nothing can be written.
        look(1);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::create_dir(&partial).unwrap();
        look(2);
        look(3);
        fs::remove_dir(&path).unwrap();
        fs::remove_dir(&partial).unwrap();
        look(4);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        // As a hearth leaves it that dies in the middle of a line.
        fs::write(&path, "0 1 1000 seen\n1 2 20").unwrap();
        let mut next = read(folder.path(), 0);
        next.look(9, 9_000, Some(8_000));
        keep(folder.path(), &mut next, 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0 1 1000 seen\n1 9 9000 seen\n");
    }

    #[test]
    fn what_joined_a_mark_that_is_kept_is_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::default();
        let mut look = |end, now_ms| {
            times.look(end, now_ms, Some(900));
            keep(folder.path(), &mut times, 0);
        };
        for (end, now_ms) in [(5, 1_000), (9, 1_100), (9, 1_150), (12, 1_200), (20, 2_000)] {
            look(end, now_ms);
            let mut next = read(folder.path(), 0);
            // Nothing that was seen is new to the next hearth, however late it looks.
            next.look(end, 900_000, None);
            assert_eq!(next.of(end - 1).map(|mark| mark.late), Some(false), "{end}");
        }
        let path = folder.path().join(NAME);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0 5 1000 seen\n0 9 1000 seen\n0 12 1000 seen\n12 20 2000 seen\n");
        let mut next = read(folder.path(), 0);
        next.look(30, 3_000, Some(2_900));
        keep(folder.path(), &mut next, 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0 12 1000 seen\n12 20 2000 seen\n20 30 3000 seen\n", "each once");
    }

    #[test]
    fn what_can_t_be_read_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, b"\xff\xfe").unwrap();
        let mut times = read(folder.path(), 0);
        times.look(5, 1_000, Some(900));
        keep(folder.path(), &mut times, 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0 5 1000 seen\n");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(folder.path(), 0).unkept(), Unkept::All);
        fs::remove_dir(&path).unwrap();
        assert_eq!(read(folder.path(), 0).unkept(), Unkept::Some(0), "there is nothing that is to be replaced");
    }

    #[test]
    fn of_another_log_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::default();
        times.look(100, 1_000, Some(900));
        keep(folder.path(), &mut times, 0);
        times.look(5, 2_000, None);
        keep(folder.path(), &mut times, 0);
        assert_eq!(fs::read_to_string(folder.path().join(NAME)).unwrap(), "");
    }
}
