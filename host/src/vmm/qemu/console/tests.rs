//! The log's size and its followers, with an ordinary file in QEMU's place.

use super::*;
use std::time::Duration;

fn append(log: &ConsoleLog, text: &[u8]) {
    File::options().create(true).append(true).open(log.path()).unwrap().write_all(text).unwrap();
}

async fn expect(end: &mut DuplexStream, text: &str) {
    let mut read = vec![0; text.len()];
    tokio::time::timeout(Duration::from_secs(5), end.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&read), text);
}

#[tokio::test]
async fn history_joins_what_follows_for_each_attachment() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into());
    append(&log, b"old lines, new ");
    let (mut all, mut some) = (log.attach(1000).unwrap(), log.attach(4).unwrap());
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
    let log = ConsoleLog::new(folder.path().into());
    append(&log, b"a");
    let mut end = log.attach(9).unwrap();
    expect(&mut end, "a").await;
    std::fs::remove_file(log.path()).unwrap();
    let rest = tokio::time::timeout(Duration::from_secs(5), end.read(&mut [0; 9])).await.unwrap().unwrap();
    assert_eq!(rest, 0);
}

#[tokio::test]
async fn a_long_log_keeps_its_newest_half_and_its_followers() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into());
    let mut writer = File::options().create(true).append(true).open(log.path()).unwrap();
    let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
    for _ in 0..(MOST_LOG_BYTES / 1024 + 1) {
        writer.write_all(&line).unwrap();
    }
    let mut end = log.attach(0).unwrap();
    log.trim().unwrap();
    let len = writer.metadata().unwrap().len();
    assert!((KEPT_BYTES..KEPT_BYTES + 8192).contains(&len), "{len}");
    writer.write_all(b"after the cut").unwrap();
    expect(&mut end, "after the cut").await;
    assert_eq!(log.tail(13).unwrap(), b"after the cut");
    assert_eq!(log.tail(u64::MAX).unwrap().len() as u64, len + 13);
}
