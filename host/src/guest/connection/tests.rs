//! A connection over a VMM's socket.
use super::*;
use std::time::Duration;
use tokio::{sync::oneshot, time::timeout};

const SOON: Duration = Duration::from_secs(20);

fn pair() -> (Connection, UnixStream, oneshot::Sender<()>) {
    let (near, far) = UnixStream::pair().unwrap();
    let (end, gone) = oneshot::channel::<()>();
    let gone = async move { drop(gone.await) };
    (Connection::over(near, gone), far, end)
}

async fn next(connection: &mut Connection) -> Result<ConnectionEvent, GuestFault> {
    timeout(SOON, connection.output.next()).await.expect("something comes")
}

#[tokio::test]
async fn each_side_ends_by_itself() {
    let (mut connection, mut far, _end) = pair();
    connection.input.write_all(b"question").await.unwrap();
    connection.input.close().await.unwrap();
    let mut asked = String::new();
    timeout(SOON, far.read_to_string(&mut asked)).await.unwrap().unwrap();
    assert_eq!(asked, "question");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    assert_eq!(next(&mut connection).await.unwrap(), ConnectionEvent::Bytes("answer".into()));
    assert_eq!(next(&mut connection).await.unwrap(), ConnectionEvent::Eof);
    assert_eq!(next(&mut connection).await.unwrap(), ConnectionEvent::Closed);
}

#[tokio::test]
async fn it_is_over_only_when_both_have_ended() {
    let (mut connection, mut far, _end) = pair();
    far.shutdown().await.unwrap();
    assert_eq!(next(&mut connection).await.unwrap(), ConnectionEvent::Eof);
    assert!(timeout(Duration::from_millis(50), connection.output.next()).await.is_err());
    connection.input.write_all(b"still").await.unwrap();
    connection.input.close().await.unwrap();
    assert_eq!(next(&mut connection).await.unwrap(), ConnectionEvent::Closed);
    let mut heard = String::new();
    timeout(SOON, far.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "still");
}

#[tokio::test]
async fn the_end_of_the_machine_breaks_it() {
    let (mut connection, _far, end) = pair();
    drop(end);
    assert!(matches!(next(&mut connection).await, Err(GuestFault::Reset { detail }) if detail == "the VM ended"));
    // A VMM that dies closes its sockets: what looks like the guest's end is followed by the truth.
    let (mut connection, far, end) = pair();
    drop(far);
    assert_eq!(next(&mut connection).await.unwrap(), ConnectionEvent::Eof);
    drop(end);
    assert!(matches!(next(&mut connection).await, Err(GuestFault::Reset { .. })));
}
