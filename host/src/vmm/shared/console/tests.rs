//! The log's size and its followers, with an ordinary file in the VMM's place.

use super::*;
use std::time::Duration;

const MANNER: Manner = Manner { keyboard: Keyboard::Pipe("keyboard"), other_log: Some("other.log") };

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
    let log = ConsoleLog::new(folder.path().into(), MANNER);
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
    let log = ConsoleLog::new(folder.path().into(), MANNER);
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
    let log = ConsoleLog::new(folder.path().into(), MANNER);
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

#[tokio::test]
async fn what_is_typed_goes_through_a_pipe_also_to_the_next_reader() {
    let folder = tempfile::tempdir().unwrap();
    let log = ConsoleLog::new(folder.path().into(), MANNER);
    append(&log, b"");
    let path = folder.path().join("keyboard");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut end = log.attach(0).unwrap();
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
