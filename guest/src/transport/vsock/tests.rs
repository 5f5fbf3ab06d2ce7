//! Over the kernel's own loopback (CID 1), where it has one: the module `vsock_loopback`. Without it the tests say SKIPPED.
use super::*;
use crate::transport::Transport;
use nix::sys::socket::{connect, getsockname};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DEADLINE: Duration = Duration::from_secs(10);

fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        std::io::Write::write_all(&mut file, format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

fn stream() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
}

/// An address of the loopback can be bound only where there is one; connecting would wait for an answer.
fn loopback(test: &str) -> bool {
    let address = VsockAddr::new(libc::VMADDR_CID_LOCAL, libc::VMADDR_PORT_ANY);
    let there = stream().and_then(|socket| bind(socket.as_raw_fd(), &address)).is_ok();
    if !there {
        skipped(test, "needs vsock and its loopback (modprobe vsock_loopback)");
    }
    there
}

/// A listener on a free port, and that port.
fn on_a_free_port(peer: u32) -> (Listener, u32) {
    // The kernel gives a port, and gives it again only after all others.
    let probe = stream().unwrap();
    bind(probe.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_ANY, libc::VMADDR_PORT_ANY)).unwrap();
    let port = getsockname::<VsockAddr>(probe.as_raw_fd()).unwrap().port();
    drop(probe);
    (listen_for(port, peer).unwrap(), port)
}

fn connected(port: u32) -> File {
    let socket = stream().unwrap();
    connect(socket.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_LOCAL, port)).unwrap();
    File::from(socket)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("in time") });
}

#[test]
fn the_admitted_machine_talks_and_the_newest_connection_is_told_of() {
    if !loopback("the_admitted_machine_talks_and_the_newest_connection_is_told_of") {
        return;
    }
    run(async {
        const MUCH: usize = 1 << 20;
        let (mut listener, port) = on_a_free_port(libc::VMADDR_CID_LOCAL);
        let mut far = connected(port);
        let (mut reader, mut writer) = listener.accept().await.unwrap();
        // More than the credit that a vsock peer gives, so that both ends wait.
        let host = std::thread::spawn(move || {
            far.write_all(&vec![7; MUCH]).unwrap();
            let mut got = vec![0; MUCH];
            far.read_exact(&mut got).unwrap();
            (far, got)
        });
        let mut got = vec![0; MUCH];
        reader.read_exact(&mut got).await.unwrap();
        writer.write_all(&vec![9; MUCH]).await.unwrap();
        let (far, heard) = host.join().unwrap();
        assert_eq!((got, heard), (vec![7; MUCH], vec![9; MUCH]));
        let newest = connected(port);
        listener.newer().await;
        drop((reader, writer, far));
        let (mut reader, _writer) = listener.accept().await.unwrap();
        drop(newest);
        assert_eq!(reader.read(&mut [0]).await.unwrap_or(0), 0, "the host has gone");
    });
}

#[test]
fn who_is_not_the_host_is_hung_up_on() {
    if !loopback("who_is_not_the_host_is_hung_up_on") {
        return;
    }
    run(async {
        let (mut listener, port) = on_a_free_port(libc::VMADDR_CID_HOST);
        let mut guest = connected(port);
        let host = std::thread::spawn(move || guest.read(&mut [0]).unwrap_or(0));
        assert!(tokio::time::timeout(Duration::from_millis(200), listener.accept()).await.is_err());
        assert_eq!(host.join().unwrap(), 0);
    });
}
