//! Over unix sockets, which are there everywhere; what is vsock's own is tried in `vsock`.
use super::*;
use crate::transport::socket::bind;
use nix::sys::socket::{AddressFamily, SockType, socket};
use std::{
    cell::Cell,
    future::Future,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    pin::pin,
    task::{Context, Waker},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DEADLINE: Duration = Duration::from_secs(10);

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hearth-agent-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("in time") });
}

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn connect(folder: &Folder) -> UnixStream {
    let stream = UnixStream::connect(folder.socket()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn bytes_flow_both_ways_beyond_every_buffer_until_the_host_goes() {
    const MUCH: usize = 1 << 20;
    let folder = Folder::new("flow");
    run(async {
        let mut listener = bind(folder.socket().to_str().unwrap()).unwrap();
        let mut far = connect(&folder);
        let host = std::thread::spawn(move || {
            far.write_all(&vec![7; MUCH]).unwrap();
            let mut got = vec![0; MUCH];
            far.read_exact(&mut got).unwrap();
            got
        });
        let (mut reader, mut writer) = listener.accept().await.unwrap();
        let mut got = vec![0; MUCH];
        reader.read_exact(&mut got).await.unwrap();
        assert_eq!(got, vec![7; MUCH]);
        writer.write_all(&vec![9; MUCH]).await.unwrap();
        assert_eq!(host.join().unwrap(), vec![9; MUCH]);
        assert_eq!(reader.read(&mut got).await.unwrap(), 0, "the host's end is the connection's");
        assert!(writer.write_all(&got).await.is_err());
        drop((reader, writer));
        let mut another = connect(&folder);
        another.write_all(b"anew").unwrap();
        let (mut reader, _writer) = listener.accept().await.unwrap();
        reader.read_exact(&mut got[..4]).await.unwrap();
        assert_eq!(&got[..4], b"anew");
    });
}

#[test]
fn a_newer_connection_is_told_of_and_given_next() {
    let folder = Folder::new("newer");
    run(async {
        let mut listener = bind(folder.socket().to_str().unwrap()).unwrap();
        assert!(is_pending(listener.newer()));
        let _first = connect(&folder);
        let halves = listener.accept().await.unwrap();
        assert!(is_pending(listener.newer()));
        let mut second = connect(&folder);
        second.write_all(b"2").unwrap();
        listener.newer().await;
        // Asked again it is still so: who dropped the answer has lost nothing.
        listener.newer().await;
        drop(halves);
        let (mut reader, _writer) = listener.accept().await.unwrap();
        assert_eq!(reader.read_u8().await.unwrap(), b'2');
        assert!(is_pending(listener.newer()));
    });
}

#[test]
fn who_may_not_come_is_hung_up_on_and_disturbs_nobody() {
    let folder = Folder::new("admits");
    run(async {
        let socket = std::os::unix::net::UnixListener::bind(folder.socket()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let open = Rc::new(Cell::new(false));
        let asked = Rc::clone(&open);
        let mut listener = Listener::new(socket.into(), Box::new(move |_| asked.get()));
        let mut refused = connect(&folder);
        assert!(is_pending(async {
            tokio::select! {
                _ = listener.accept() => {}
                // Once it has had its turn after the refusal.
                () = std::future::pending() => {}
            }
        }));
        assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err());
        assert_eq!(refused.read(&mut [0]).unwrap(), 0);
        open.set(true);
        let _admitted = connect(&folder);
        let _halves = listener.accept().await.unwrap();
        open.set(false);
        let _another = connect(&folder);
        assert!(tokio::time::timeout(Duration::from_millis(50), listener.newer()).await.is_err());
    });
}

#[test]
fn a_listener_that_goes_on_failing_is_given_up() {
    // Not listening, so that each accept fails.
    let deaf = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    run(async {
        let mut listener = Listener::new(deaf, Box::new(|_| true));
        let asked = std::time::Instant::now();
        assert!(listener.accept().await.is_err());
        assert!(asked.elapsed() >= Duration::from_millis(500), "not at the first failure");
        // A connection that is on has nothing to do with it.
        assert!(tokio::time::timeout(PAUSE * (MOST_FAILURES + 2), listener.newer()).await.is_err());
    });
}
