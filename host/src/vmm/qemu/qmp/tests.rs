//! The conversation against a server that answers, talks garbage, hangs or dies; and the reading of logs.

use super::*;
use std::os::unix::net::UnixListener;
use tokio::io::AsyncWriteExt;

const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";

/// Serves one client: after the greeting, each line that is read is answered by the next of `answers`; then it holds, or closes.
async fn server(answers: &[&str], holds: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("qmp.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let answers: Vec<String> = answers.iter().map(|text| (*text).to_owned()).collect();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(GREETING.as_bytes()).await.unwrap();
        for answer in answers {
            if lines.next_line().await.unwrap().is_none() {
                return;
            }
            writer.write_all(answer.as_bytes()).await.unwrap();
        }
        if holds {
            std::future::pending::<()>().await;
        }
    });
    folder
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(200)
}

#[tokio::test]
async fn answers_are_found_among_events_and_garbage() {
    let garbage = "\0\u{1}not json\r\n{\"event\": \"STOP\"}\r\n[]\r\n{\"return\": {}, \"id\": 99}\r\n{\"return\": {\"status\": \"paused\"}, \"id\": 2}\r\n";
    let folder = server(&["{\"return\": {}, \"id\": 1}\r\n", garbage], true).await;
    let mut qmp = Qmp::open(folder.path(), "qmp.sock", soon()).await.unwrap();
    let status = qmp.call("query-status", Value::Null, soon()).await.unwrap();
    assert_eq!(status["status"], "paused");
}

#[tokio::test]
async fn a_refusal_carries_its_description() {
    let refusal = "{\"id\": 2, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\n";
    let folder = server(&["{\"return\": {}, \"id\": 1}\r\n", refusal], true).await;
    let mut qmp = Qmp::open(folder.path(), "qmp.sock", soon()).await.unwrap();
    let refused = qmp.call("cont", Value::Null, soon()).await.unwrap_err();
    assert!(matches!(refused, VmmError::Refused { call: "cont", detail } if detail == "no"));
}

#[tokio::test]
async fn a_hang_ends_at_the_deadline_and_a_death_at_once() {
    let folder = server(&[], true).await;
    assert!(matches!(
        Qmp::open(folder.path(), "qmp.sock", soon()).await,
        Err(VmmError::Timeout { call: "qmp_capabilities", .. })
    ));
    let folder = server(&["{\"return\": {}, \"id\": 1}\r\n"], false).await;
    let mut qmp = Qmp::open(folder.path(), "qmp.sock", soon()).await.unwrap();
    assert!(matches!(qmp.call("stop", Value::Null, soon()).await, Err(VmmError::Gone)));
    assert!(matches!(Qmp::open(tempfile::tempdir().unwrap().path(), "qmp.sock", soon()).await, Err(VmmError::Gone)));
}

#[tokio::test]
async fn a_line_without_end_is_refused() {
    let endless = "x".repeat(MOST_LINE as usize + 1);
    let folder = server(&[&endless], true).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    assert!(matches!(Qmp::open(folder.path(), "qmp.sock", deadline).await, Err(VmmError::Refused { call: "qmp", .. })));
}

#[test]
fn the_last_word_counts_and_panic_most() {
    let shutdown =
        |reason: &str| format!("{{\"event\": \"SHUTDOWN\", \"data\": {{\"guest\": true, \"reason\": \"{reason}\"}}}}\n");
    assert_eq!(farewell(""), None);
    assert_eq!(farewell("{\"event\": \"STOP\"}\n{\"ev"), None);
    assert_eq!(farewell(&shutdown("guest-shutdown")), Some(Farewell::Shutdown));
    assert_eq!(farewell(&format!("{{\"QMP\": 1}}\r\n{}garbage", shutdown("guest-reset"))), Some(Farewell::Reset));
    assert_eq!(farewell(&shutdown("host-signal")), Some(Farewell::Told));
    let panicked = format!("{{\"event\": \"GUEST_PANICKED\", \"data\": {{\"action\": \"pause\"}}}}\n{}", shutdown("guest-reset"));
    assert_eq!(farewell(&panicked), Some(Farewell::Panic));
}
