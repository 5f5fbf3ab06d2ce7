//! Where a password that was made is to be found afterwards: in what its asker was told, and nowhere else.

// The helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used)]

use process::{Server, run};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[path = "support/process.rs"]
mod process;

/// Every file at or below the path.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect()
}

fn holds(path: &Path, what: &str) -> bool {
    fs::read(path).unwrap().windows(what.len()).any(|window| window == what.as_bytes())
}

#[test]
fn a_password_is_in_no_file_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, log, backup, kernel, rootfs) = (at("data"), at("log"), at("a.backup"), at("vmlinux"), at("root.ext4"));
    fs::write(&kernel, b"\x7fELF and more").unwrap();
    // A superblock with magic and eight blocks of 1 KiB.
    let mut blocks = vec![0; 8192];
    (blocks[1024 + 0x38], blocks[1024 + 0x39], blocks[1024 + 4]) = (0x53, 0xEF, 8);
    fs::write(&rootfs, blocks).unwrap();
    let server = Server::start_logging(Path::new(&data), Path::new(&log));
    let ask = |words: &[&str]| {
        let ran = run(&[words, &["--url", &server.url, "--data-dir", &data]].concat());
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.out
    };
    ask(&["image", "create", "linux", "--kind", "kernel", "--path", &kernel, "--default"]);
    ask(&["image", "create", "base", "--kind", "rootfs", "--path", &rootfs]);
    let made: Value =
        serde_json::from_str(&ask(&["vm", "create", "one", "--image", "base", "--password", "-o", "json"])).unwrap();
    let mut passwords = vec![made["credentials"]["password"].as_str().unwrap().to_owned()];
    let marker = "shown this once: ";
    for words in
        [&["vm", "create", "two", "--image", "base", "--password", "--no-start"][..], &["vm", "update", "two", "--new-password"]]
    {
        passwords.push(ask(words).lines().find_map(|line| Some(line.split_once(marker)?.1.to_owned())).unwrap());
    }
    ask(&["vm", "start", "two"]);
    ask(&["backup", &backup]);
    for words in [&["vm", "get", "one", "two"][..], &["vm", "ls"], &["operation", "ls"], &["event", "ls", "-n", "1000"]] {
        let shown = ask(&[words, &["-o", "json"]].concat());
        assert!(passwords.iter().all(|password| !shown.contains(password)), "{words:?}: {shown}");
        assert!(!shown.contains("$6$"), "{words:?}: {shown}");
    }
    drop(server);

    let all = files(folder.path());
    for password in &passwords {
        assert_eq!(password.len(), 29);
        let found: Vec<_> = all.iter().filter(|file| holds(file, password)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    // What is kept can be seen where it is looked for: the hashes, and of the log that it tells of the VMs.
    let hashed = |part: &str| all.iter().any(|file| file.starts_with(part) && holds(file, "$6$"));
    assert!(hashed(&data) && hashed(&backup), "{all:?}");
    assert!(holds(Path::new(&log), made["id"].as_str().unwrap()), "nothing of it is in the log");
    assert!(!holds(Path::new(&log), "$6$"), "the log has no hashes either");
}
