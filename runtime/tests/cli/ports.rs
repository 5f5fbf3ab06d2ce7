//! `vm connect` and `vm forward` against ports that echo.

use super::double::{Double, Ran};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn connect_joins_the_streams_more_than_any_buffer_holds() {
    let double = Double::start();
    double.echoes(&["vm", "connect", "demo", "22"]);
    assert_eq!(double.seen("GET /v1/vms/demo/connect")[0].what, "GET /v1/vms/demo/connect?tcp=22");
    let ran = double.run(&["vm", "connect", "demo", "vsock:5000"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(double.seen("GET /v1/vms/demo/connect")[1].what, "GET /v1/vms/demo/connect?vsock=5000");
}

/// As ssh has it: its proxy's output must end with the guest's, or it waits for ever, and its input is still open then.
#[test]
fn the_guests_end_is_the_outputs_and_what_is_sent_still_arrives() {
    let double = Double::start();
    let mut child =
        double.hearth(&["vm", "connect", "greets", "22"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "hello\n");
    assert!(child.try_wait().unwrap().is_none(), "it has not ended while there may be more to send");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"bye").unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_can_not_be_connected_is_told() {
    let double = Double::start();
    let ran = double.run(&["vm", "connect", "refused", "80"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "error: nobody listens at TCP port 80 of the guest\nhint: start the service in the guest\nrequest: req_7\n")
    );
    for wrong in [["connect", "demo", "0"], ["connect", "demo", "65536"], ["forward", "demo", "80:0"]] {
        let ran = double.run(&["vm", wrong[0], wrong[1], wrong[2]]);
        assert!(ran.code == Some(2) && ran.err.contains("is no port: a number from 1 to 65535"), "{ran:?}");
    }
    let ran = double.run(&["vm", "forward", "missing", "0:80"]);
    assert!(ran.code == Some(1) && ran.err.starts_with("error: there is no vm missing"), "{ran:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ran = double.run(&["vm", "forward", "demo", "0:81", &format!("{port}:80")]);
    assert!(ran.code == Some(1) && ran.err.starts_with(&format!("error: cannot listen on 127.0.0.1:{port}: ")), "{ran:?}");
    assert_eq!(ran.out, "", "nothing is told that does not hold");
    let ran = double.run(&["vm", "connect", "demo", "vsock:1023"]);
    assert!(ran.code == Some(2) && ran.err.contains("vsock port 1023 is the guest agent's"), "{ran:?}");
    let mut child = double.hearth(&["vm", "connect", "demo", "80"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"break").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert!(ran.code == Some(1) && ran.err.contains("the VM is stopping"), "{ran:?}");
}

/// It runs, and listens there.
fn forwarding(double: &Double, args: &[&str], count: usize) -> (Child, Vec<String>) {
    let mut child = double.hearth(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(count).map(Result::unwrap).collect();
    (child, lines)
}

fn interrupted(child: Child) -> Ran {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn forward_listens_here_and_carries_each_connection() {
    let double = Double::start();
    let (child, lines) = forwarding(&double, &["vm", "forward", "demo", "0:80", "vsock:5000", "-o", "json"], 2);
    let told: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&told[0]["vm"], &told[0]["port"], &told[1]["port"]), (&"demo".into(), &"tcp:80".into(), &"vsock:5000".into()));
    let connect = |which: usize| {
        let stream = TcpStream::connect(told[which]["local"].as_str().unwrap()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    };
    let mut held = [connect(0), connect(1), connect(0)];
    for (number, stream) in held.iter_mut().enumerate() {
        write!(stream, "number {number}").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, format!("number {number}"));
    }
    // One that is open does not keep it from ending.
    let mut open = connect(0);
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    let ran = interrupted(child);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(open.read(&mut [0]).map_or(true, |got| got == 0), "it ends with the command");
}

/// A program that reads to the end must not take half of it for all.
#[test]
fn what_breaks_in_the_guest_breaks_here() {
    let double = Double::start();
    let (child, lines) = forwarding(&double, &["vm", "forward", "demo", "0:80", "-o", "json"], 1);
    let told: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let mut stream = TcpStream::connect(told["local"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"half").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.write_all(b"break").unwrap();
    let seen = stream.read(&mut [0]).unwrap_err();
    assert_eq!(seen.kind(), std::io::ErrorKind::ConnectionReset);
    let ran = interrupted(child);
    assert!(ran.code == Some(0) && ran.err.contains("tcp:80 of demo: ") && ran.err.contains("the VM is stopping"), "{ran:?}");
}

#[test]
fn a_connection_that_is_refused_ends_itself_only() {
    let double = Double::start();
    let (child, lines) = forwarding(&double, &["vm", "forward", "refused", "0:80"], 1);
    let local = lines[0].strip_suffix(" -> tcp:80 of refused").unwrap_or_else(|| panic!("{lines:?}"));
    for _ in 0..2 {
        let mut stream = TcpStream::connect(local).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        assert!(stream.read(&mut [0]).map_or(true, |got| got == 0));
    }
    let ran = interrupted(child);
    let told = "tcp:80 of refused: nobody listens at TCP port 80 of the guest\n";
    assert_eq!((ran.code, ran.err), (Some(0), told.repeat(2)));
}
