//! The log's size and its followers, with an ordinary file in the VMM's place.

use super::lines::{MOST_LINES, ms};
use super::*;
use std::time::{Duration, SystemTime};

const MANNER: Manner = Manner { keyboard: Keyboard::Pipe("keyboard"), other_log: Some("other.log"), beside: None };

fn append(log: &ConsoleLog, text: &[u8]) {
    File::options().create(true).append(true).open(log.path()).unwrap().write_all(text).unwrap();
}

/// A look at that moment.
fn look_at(log: &ConsoleLog, now_ms: u64) {
    let cut = lock(&log.cut);
    log.seen_at(now_ms, *cut, |times| kept::keep(&log.folder, times, *cut));
}

async fn expect(end: &mut DuplexStream, text: &str) {
    let mut read = vec![0; text.len()];
    tokio::time::timeout(Duration::from_secs(5), end.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&read), text);
}

#[tokio::test]
async fn history_joins_what_follows_for_each_attachment() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    append(&log, b"old lines, new ");
    let (mut all, mut some) = (log.attach(&LinesWanted::plain(1000)).unwrap(), log.attach(&LinesWanted::plain(4)).unwrap());
    expect(&mut all, "old lines, new ").await;
    append(&log, b"lines\n");
    expect(&mut all, "lines\n").await;
    expect(&mut some, "new lines\n").await;
    // Typing into a VM that does not run is no error.
    all.write_all(b"x").await.unwrap();
    append(&log, b"more");
    expect(&mut all, "more").await;
}

#[tokio::test]
async fn an_attachment_ends_with_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    append(&log, b"a");
    let mut end = log.attach(&LinesWanted::plain(9)).unwrap();
    expect(&mut end, "a").await;
    std::fs::remove_file(log.path()).unwrap();
    let rest = tokio::time::timeout(Duration::from_secs(5), end.read(&mut [0; 9])).await.unwrap().unwrap();
    assert_eq!(rest, 0);
}

#[tokio::test]
async fn a_long_log_keeps_its_newest_half_and_its_followers() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    let mut writer = File::options().create(true).append(true).open(log.path()).unwrap();
    let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
    for _ in 0..(MOST_LOG_BYTES / 1024 + 1) {
        writer.write_all(&line).unwrap();
    }
    let mut end = log.attach(&LinesWanted::plain(0)).unwrap();
    log.trim().unwrap();
    let len = writer.metadata().unwrap().len();
    assert!((KEPT_BYTES..KEPT_BYTES + 8192).contains(&len), "{len}");
    writer.write_all(b"after the cut").unwrap();
    expect(&mut end, "after the cut").await;
    assert_eq!(log.tail(13).unwrap(), b"after the cut");
    assert_eq!(log.tail(u64::MAX).unwrap().len() as u64, len + 13);
}

#[tokio::test]
async fn what_is_typed_goes_through_a_pipe_also_to_the_next_reader() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    append(&log, b"");
    let path = folder.path().join("keyboard");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut end = log.attach(&LinesWanted::plain(0)).unwrap();
    // Nobody reads: it is lost, and the attachment stays.
    end.write_all(b"lost").await.unwrap();
    for typed in ["first", "after"] {
        let mut reader = pipe::OpenOptions::new().open_receiver(&path).unwrap();
        let mut arrived = String::new();
        let reading = async {
            // The end of the reader before is seen only by a write that fails, which is lost: hence more than once.
            while !arrived.contains(typed) {
                end.write_all(typed.as_bytes()).await.unwrap();
                let mut read = [0; 64];
                if let Ok(read_now) = tokio::time::timeout(Duration::from_millis(50), reader.read(&mut read)).await {
                    arrived.push_str(&String::from_utf8_lossy(&read[..read_now.unwrap()]));
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), reading).await.expect("what is typed arrives");
    }
}

/// The words of its times.
fn told(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text).into_owned();
    text.split_inclusive('\n').map(|line| line.split_once(' ').unwrap()).map(|(time, line)| (time.into(), line.into())).collect()
}

fn with_times(bytes: u64) -> LinesWanted {
    LinesWanted { bytes, with_times: true, since_ms: None }
}

#[test]
fn each_line_has_its_time_also_with_the_next_hearth() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    assert_eq!(log.lines(&with_times(1000)).unwrap(), b"");
    let began = ms(SystemTime::now()).unwrap();
    append(&log, b"first\r\nsec");
    look_at(&log, began);
    append(&log, b"ond\nthird\n");
    look_at(&log, began + 1_000);
    let all = told(&log.lines(&with_times(1000)).unwrap());
    assert_eq!(all.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["first\r\n", "second\n", "third\n"]);
    assert!(all[0].0.starts_with("20") && all[0].0.ends_with('Z') && all[0].0.len() == 24, "{all:?}");
    assert!(all[0].0 == all[1].0 && all[1].0 < all[2].0, "a line has the time of its first byte: {all:?}");
    let newest = LinesWanted { bytes: 1000, since_ms: Some(began + 1), with_times: false };
    assert_eq!(log.lines(&newest).unwrap(), b"third\n");
    assert_eq!(log.lines(&LinesWanted { since_ms: Some(began + 100_000), ..newest }).unwrap(), b"");
    assert_eq!(told(&log.lines(&with_times(8)).unwrap()), all[2..], "from the beginning of a line on");
    let next = ConsoleLog::new(folder.path().into(), MANNER);
    assert_eq!(told(&next.lines(&with_times(1000)).unwrap()), all);
    std::fs::remove_file(folder.path().join("console.times")).unwrap();
    std::fs::write(folder.path().join("console.times"), b"what is this").unwrap();
    let without = ConsoleLog::new(folder.path().into(), MANNER);
    assert_eq!(without.lines(&LinesWanted::plain(6)).unwrap(), b"third\n");
    assert_eq!(told(&without.lines(&with_times(1000)).unwrap()).len(), 3);
}

#[test]
fn a_time_that_was_told_is_the_next_hearths_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    append(&log, b"said\n");
    let said = log.lines(&with_times(1000)).unwrap();
    let next = ConsoleLog::new(folder.path().into(), MANNER);
    assert_eq!(next.lines(&with_times(1000)).unwrap(), said);
}

#[tokio::test]
async fn followers_see_times_over_a_cut_that_leaves_them_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    // The looks below come before those of now.
    let began = ms(SystemTime::now()).unwrap() - 10_000;
    append(&log, b"old\n");
    look_at(&log, began);
    for n in 0..5_u32 {
        append(&log, format!("{n}{}\n", "x".repeat(1 << 20)).as_bytes());
        look_at(&log, began + 300 * (u64::from(n) + 1));
    }
    append(&log, b"last\n");
    look_at(&log, began + 2_000);
    let before = told(&log.lines(&with_times(10)).unwrap());
    log.trim().unwrap();
    assert_eq!(told(&log.lines(&with_times(10)).unwrap()), before);
    let kept = std::fs::read_to_string(folder.path().join("console.times")).unwrap();
    assert!(kept.lines().count() <= 4, "what was cut off has no times any more: {kept}");
    let next = ConsoleLog::new(folder.path().into(), MANNER);
    assert_eq!(told(&next.lines(&with_times(10)).unwrap()), before, "with the next hearth, too");
    let mut end = log.attach(&with_times(5)).unwrap();
    let line = format!("{} last\n", before[0].0);
    expect(&mut end, &line).await;
    append(&log, b"more\n");
    let mut read = vec![0; line.len()];
    tokio::time::timeout(Duration::from_secs(5), end.read_exact(&mut read)).await.unwrap().unwrap();
    let more = told(&read);
    assert!(more[0].1 == "more\n" && more[0].0 >= before[0].0, "{more:?}");
}

#[test]
fn a_log_of_empty_lines_does_not_become_a_flood() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    append(&log, &vec![b'\n'; 4 << 20]);
    let lines = log.lines(&with_times(u64::MAX)).unwrap();
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), MOST_LINES);
}
