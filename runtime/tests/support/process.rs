//! The real `hearth` as a process: one command, or a server on a free port. And a receiver's side of one POST.

// Helpers of tests are not seen as tests by the lint, and no test binary uses all of them.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Far more than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

pub fn hearth(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command
        .args(arguments)
        .env_remove("HEARTH_URL")
        .env_remove("HEARTH_TOKEN")
        .env_remove("HEARTH_DATA_DIR")
        .env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(arguments: &[&str]) -> Ran {
    let output = hearth(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A server on a free port; killed when dropped.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    pub fn start(dir: &Path) -> Server {
        Server::start_with(dir, &[])
    }

    pub fn start_with(dir: &Path, environment: &[(&str, &Path)]) -> Server {
        let dir = dir.to_str().unwrap();
        let arguments = ["up", "--vmm", "simulated", "--no-network", "--listen", "127.0.0.1:0", "--data-dir", dir];
        let mut command = hearth(&arguments);
        command.envs(environment.iter().copied()).stderr(Stdio::piped());
        Server::of(command)
    }

    /// All that it can log goes into a file.
    pub fn start_logging(dir: &Path, log: &Path) -> Server {
        let dir = dir.to_str().unwrap();
        let arguments = ["up", "--vmm", "simulated", "--no-network", "--listen", "127.0.0.1:0", "--data-dir", dir];
        let mut command = hearth(&arguments);
        command.env("HEARTH_LOG", "trace,ractor=trace").stderr(std::fs::File::create(log).unwrap());
        Server::of(command)
    }

    fn of(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The end of its output, should it fail to start, ends this; the run of all tests has a deadline.
        let ready = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("hearth is ready: ").map(str::to_owned));
        let Some(url) = ready else {
            let mut text = String::new();
            child.stderr.take().map(|mut all| all.read_to_string(&mut text));
            panic!("hearth up failed: {text}");
        };
        Server { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until it is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < SOON, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A connection, or the end of the test when nobody comes.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    until("a connection", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let stream = accepted.unwrap().0;
    stream.set_nonblocking(false).unwrap();
    stream
}

/// One request, head and body, answered with 200 and the connection's end; none when the other side hangs up.
pub fn heard(stream: &mut (impl Read + Write)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if bytes.len() >= at + 4 + length.unwrap() {
            break (head, bytes[at + 4..].to_vec());
        }
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    stream.flush().unwrap();
    Some((head, body))
}
