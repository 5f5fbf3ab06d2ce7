//! What QEMU and the kernel say, as the fuzzer wants it: see `host::fuzz`.

use super::super::shared::{cgroup, console, process};
use super::{detect, files::CONSOLE_LOG, inspection, outside, qmp};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

/// The first byte says what the rest is.
pub fn words(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match which % 6 {
        0 => conversation(rest),
        1 => farewell(&text),
        2 => stat(&text),
        3 => mounts(&text),
        4 => {
            if let Some(version) = detect::parse_version(&text) {
                assert!(text.contains(&version) && !version.contains(char::is_whitespace));
            }
        }
        _ => {
            if let Ok(status) = serde_json::from_slice::<Value>(rest) {
                let _state = inspection(&status);
            }
        }
    }
}

/// What is told of drives and balloon.
pub fn outside(said: &[u8]) {
    let Ok(told) = serde_json::from_slice::<Value>(said) else { return };
    let drives = outside::drives(&told);
    assert!(drives.len() <= 32 && drives.is_sorted_by(|one, other| one.name <= other.name));
    assert!(drives.iter().all(|drive| !drive.name.is_empty() && drive.name.chars().count() <= 64));
    let _balloon = outside::balloon_bytes(&told, Some(&told));
}

/// A conversation whose other end says this. Each line is read at most once, an answer answers its own question.
fn conversation(said: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    let read = runtime.block_on(async {
        let (mut reader, mut lines) = (tokio::io::BufReader::new(said), 0);
        while let Ok(line) = qmp::next_line(&mut reader).await {
            lines += 1;
            if let Some(answer) = qmp::answer(&line, 7, "fuzz") {
                assert_eq!(line["id"], 7, "another question's answer");
                assert_eq!(answer.is_ok(), line.get("return").is_some());
            }
        }
        lines
    });
    assert!(read <= said.split(|byte| *byte == b'\n').count());
}

fn farewell(log: &str) {
    let whole = qmp::farewell(log);
    // A log that is cut at a line says the same of what it holds, and once it is a panic it stays one.
    for (at, _) in log.match_indices('\n').take(16) {
        let before = qmp::farewell(&log[..at]);
        assert!(before != Some(qmp::Farewell::Panic) || whole == before, "a panic is forgotten");
        assert!(before.is_none() || whole.is_some(), "a farewell is forgotten");
    }
    assert_eq!(qmp::farewell(&format!("{log}\n{{\"event\":")), whole, "half a line at the end changes what was said");
}

fn stat(text: &str) {
    let Some(stat) = process::parse_stat(text) else { return };
    // The command's name says nothing about the numbers.
    if let Some(at) = text.rfind(')') {
        assert_eq!(process::parse_stat(&format!("1 (x) (){}", &text[at..])), Some(stat));
    }
}

fn mounts(text: &str) {
    if let Some(at) = cgroup::mount_point(text) {
        let at = at.to_string_lossy().into_owned();
        assert!(text.contains(&at) && text.contains("cgroup2") && !at.contains('\n'));
    }
}

/// The console's log: appended to, cut at its front, and read meanwhile. A reader sees what was printed, in order, and misses only what was
/// cut before it came there.
pub fn console(input: &[u8]) {
    let log = Scratch::new();
    let mut reading = console::Fuzzed::new(&log.path);
    let mut printed: Vec<u8> = Vec::new();
    for step in input.chunks_exact(2).take(32) {
        let size = usize::from(step[1]);
        match step[0] % 4 {
            0 | 1 => {
                let more: Vec<u8> = (0..size * 16).map(|n| ((printed.len() + n) % 251) as u8).collect();
                (&log.file).write_all(&more).expect("a temporary file can be appended to");
                printed.extend(more);
            }
            2 => reading.cut(&log.file, size as u64 * 64, size as u64 * 32),
            _ => {
                let (at, bytes) = reading.read(&log.file, 1 + size * 50);
                assert_eq!(bytes, &printed[at..at + bytes.len()], "other bytes than were printed at {at}");
            }
        }
        let kept = fs::read(&log.path).expect("it is there");
        assert!(printed.ends_with(&kept), "the log is not the end of what was printed");
        assert_eq!(kept.len() as u64 + reading.cut_so_far(), printed.len() as u64);
    }
    let at = reading.at_end(&log.file);
    assert_eq!(at, printed.len(), "the end was not reached");
}

/// A file of this process and thread.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn new() -> Scratch {
        let folder = std::env::temp_dir().join(format!("hearth-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let path = folder.join(CONSOLE_LOG);
        let open = File::options().create(true).truncate(false).append(true).read(true).open(&path);
        Scratch { file: open.expect("a temporary file"), path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path.parent().expect("it is in a folder"));
    }
}
