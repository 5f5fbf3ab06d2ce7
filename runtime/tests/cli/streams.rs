//! Commands that stream: exec, shell without a terminal, logs, events.

use super::double::{Double, Ran};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[test]
fn exec_joins_the_streams_and_ends_with_the_programs_code() {
    let double = Double::start();
    let ran = double.run(&["vm", "exec", "demo", "--", "ls", "-l"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(3), "[\"ls\", \"-l\"]", "oops\n"));
    assert_eq!(double.run(&["vm", "exec", "demo", "--", "killed"]).code, Some(137));
    let ran = double.run(&["vm", "exec", "demo", "--", "nosuch"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(127), "error: nosuch: not found on the guest's PATH\n"));
    let ran = double.run(&["vm", "exec", "refused", "--", "ls"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "error: vm refused is not running\nhint: start it first\nrequest: req_7\n")
    );
    let ran = double.run(&["vm", "exec", "demo", "--", "cut"]);
    assert!(ran.code == Some(1) && ran.err.starts_with("error: the connection to"), "{ran:?}");
}

#[test]
fn exec_passes_input_on_more_than_any_buffer_holds() {
    let double = Double::start();
    double.echoes(&["vm", "exec", "demo", "--", "cat"]);
}

#[test]
fn an_interrupt_goes_to_the_program() {
    let double = Double::start();
    let mut child = double.hearth(&["vm", "exec", "demo", "--", "wait"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_shell_takes_a_script_from_a_pipe() {
    let double = Double::start();
    let mut child = double.hearth(&["vm", "shell", "demo"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"exit 9\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert!(ran.code == Some(9) && ran.out.starts_with("ready\r\nexit 9\n"), "{ran:?}");
}

#[test]
fn a_refusal_after_the_handshake_is_a_refusal() {
    let double = Double::start();
    let ran = double.run(&["vm", "shell", "late"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "error: the agent is not there\n"));
}

#[test]
fn logs_are_printed_as_they_are() {
    let double = Double::start();
    assert_eq!(double.run(&["vm", "logs", "demo"]).out, "first\nsecond\nthird\n");
    assert_eq!(double.run(&["vm", "logs", "demo", "-f"]).out, "first\nsecond\nthird\n");
    assert_eq!(double.run(&["vm", "logs", "demo", "-n", "1"]).out, "third\n");
    assert_eq!(double.run(&["vm", "logs", "demo", "-t", "--since", "10m"]).out, "- first\n");
}

#[test]
fn the_newest_events_are_listed() {
    let double = Double::start();
    let ran = double.run(&["event", "ls", "-n", "1", "--kind", "vm"]);
    assert_eq!(ran.out, "2026-01-01T00:00:00Z  vm-event-2           one  running  user:admin\n", "{ran:?}");
}

#[test]
fn following_events_survives_a_broken_connection() {
    let double = Double::start();
    let mut child = double
        .hearth(&["event", "-f", "--after", "0", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Nothing lost, nothing twice: the double repeats 2 after the resume.
    for cursor in 1..=3 {
        let event: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(event["cursor"], cursor);
    }
    child.kill().unwrap();
    let err = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(err.starts_with("connection lost (") && err.contains("resumed; nothing was missed\n"), "{err}");
}
