//! The shell on a real terminal: keys, size, leaving, and a terminal that is itself again whatever happens.

use super::double::Double;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A machine that is busy with other tests is slow; a fault would last for ever.
const PATIENCE: Duration = Duration::from_secs(20);

struct Screen {
    keyboard: File,
    terminal: OwnedFd,
    shown: mpsc::Receiver<Vec<u8>>,
    text: String,
    child: Child,
}

impl Screen {
    fn open(double: &Double, args: &[&str]) -> Screen {
        let pty = nix::pty::openpty(None, None).unwrap();
        tcsetwinsize(&pty.slave, Winsize { ws_col: 100, ws_row: 30, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = double.hearth(args).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let mut screen = File::from(pty.master.try_clone().unwrap());
        let (show, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = screen.read(&mut buffer) {
                if count == 0 || show.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Screen { keyboard: File::from(pty.master), terminal: pty.slave, shown, text: String::new(), child }
    }

    fn wait_for(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.text.contains(what) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.shown.recv_timeout(left).unwrap_or_else(|_| panic!("no {what:?} in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// The exit code; the terminal must be as it was.
    fn ended(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal was left raw");
        code
    }
}

#[test]
fn keys_go_to_the_guest_and_the_code_comes_back() {
    let double = Double::start();
    let mut screen = Screen::open(&double, &["vm", "shell", "demo"]);
    screen.wait_for("ready");
    assert!(screen.is_raw());
    assert_eq!(double.seen("GET /v1/vms/demo/shell?cols=100&rows=30").len(), 1);
    // In raw mode Ctrl-C is a key like any other.
    screen.press("a\x03b");
    screen.wait_for("a\x03b");
    screen.press("exit 7\r");
    assert_eq!(screen.ended(), Some(7));
}

#[test]
fn a_new_size_is_told() {
    let double = Double::start();
    let mut screen = Screen::open(&double, &["vm", "shell", "demo"]);
    screen.wait_for("ready");
    tcsetwinsize(&screen.terminal, Winsize { ws_col: 132, ws_row: 50, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    // The terminal is not the controlling one of the process: the kernel does not tell it.
    screen.signal(Signal::SIGWINCH);
    screen.wait_for("size 132x50");
    screen.press("exit 0\r");
    assert_eq!(screen.ended(), Some(0));
}

#[test]
fn the_leave_key_leaves() {
    let double = Double::start();
    for noun in ["shell", "console"] {
        let mut screen = Screen::open(&double, &["vm", noun, "demo"]);
        screen.wait_for("ready");
        screen.press("\x1d");
        screen.wait_for("left");
        assert_eq!(screen.ended(), Some(0));
    }
}

#[test]
fn signals_and_broken_connections_leave_a_sane_terminal() {
    let double = Double::start();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let mut screen = Screen::open(&double, &["vm", "shell", "demo"]);
        screen.wait_for("ready");
        screen.signal(signal);
        assert_eq!(screen.ended(), Some(code), "{signal}");
    }
    let mut screen = Screen::open(&double, &["vm", "shell", "demo"]);
    screen.wait_for("ready");
    screen.press("cut");
    screen.wait_for("the connection to");
    assert_eq!(screen.ended(), Some(1));
}

#[test]
fn a_program_gets_a_terminal_when_there_is_one() {
    let double = Double::start();
    let mut screen = Screen::open(&double, &["vm", "exec", "demo", "cat"]);
    // Raw, so that what comes back comes once: the terminal here does not echo.
    let deadline = Instant::now() + PATIENCE;
    while !screen.is_raw() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    screen.press("xyz");
    screen.wait_for("xyz");
    assert_eq!(screen.text.matches("xyz").count(), 1);
    screen.signal(Signal::SIGTERM);
    screen.signal(Signal::SIGINT);
    assert_eq!(screen.ended().map(|code| code > 128), Some(true));
}

#[test]
fn progress_is_shown_and_wiped() {
    let double = Double::start();
    let mut screen = Screen::open(&double, &["vm", "start", "demo"]);
    screen.wait_for("demo: vm-start 40%, boot-guest (0s)");
    screen.wait_for("\r\x1b[Kvm demo started");
    assert_eq!(screen.ended(), Some(0));
}
