//! The waiting on consoles that are written to as the test wants, and on programs that stand for a VMM.

use super::*;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

pub const SHORT: Patience = Patience { silent: Duration::from_millis(1500), in_all: Duration::from_secs(4) };

/// A program that does this with `$@`. Another program copies it: see the doctor's tests.
pub fn program(folder: &Path, body: &str) -> PathBuf {
    let (text, file) = (folder.join("text"), folder.join("program"));
    std::fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    let copied = std::process::Command::new("install").args(["-m", "755"]).args([&text, &file]).status().unwrap();
    assert!(copied.success());
    file
}

/// As `ps` would find it.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let state = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && !state.contains(") Z ")
    })
}

async fn tried(body: &str) -> Tried {
    let folder = tempfile::tempdir().unwrap();
    boot(Command::new(program(folder.path(), body)), SHORT).await.unwrap()
}

/// A console on which these words are printed, each so many milliseconds after the one before; then it stays open.
async fn printed(words: &[(u64, &str)]) -> (Sign, Duration) {
    let (mut near, mut far) = tokio::io::duplex(64);
    let print = async {
        for (after_ms, word) in words {
            tokio::time::sleep(Duration::from_millis(*after_ms)).await;
            far.write_all(word.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let (mut seen, begun) = (Vec::new(), tokio::time::Instant::now());
    tokio::select! {
        sign = wait_for_sign(&mut near, &mut seen, PATIENCE) => (sign, begun.elapsed()),
        () = print => unreachable!(),
    }
}

/// What a slow KVM was seen to do: 15 s in all, and 2.7 s without a word. Any fixed wait that is bearable where a guest stands still is too
/// short for it.
#[tokio::test(start_paused = true)]
async fn a_slow_guest_that_goes_on_printing_boots() {
    let (sign, after) = printed(&[
        (2_700, "[0.0] Linux\n"),
        (2_700, "[0.1]\n"),
        (2_700, "x\n"),
        (2_700, "y\n"),
        (2_700, "Unable to mount root fs"),
    ])
    .await;
    assert_eq!(sign, Sign::Seen);
    assert_eq!(after, Duration::from_millis(13_500));
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_still_is_told_by_its_silence() {
    let (sign, after) = printed(&[(100, "[0.0] Linux")]).await;
    assert_eq!((sign, after), (Sign::Silence(PATIENCE.silent), Duration::from_millis(5_100)));
    let (sign, after) = printed(&[]).await;
    assert_eq!((sign, after), (Sign::Silence(PATIENCE.silent), Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn one_that_prints_for_ever_has_an_end() {
    let (sign, after) = printed(&[(1_000, "again\n"); 60]).await;
    assert_eq!((sign, after), (Sign::Late(PATIENCE.in_all), Duration::from_secs(30)));
}

#[tokio::test]
async fn the_sign_is_found_over_the_edge_of_two_reads() {
    let told =
        tried("echo booting; printf 'VFS: Unable to mount '; sleep 0.1; echo 'root fs on unknown-block(0,0)'; sleep 600").await;
    assert_eq!(told.sign, Sign::Seen, "{told:?}");
    assert!(told.words.is_empty() && told.after < Duration::from_secs(4));
}

#[tokio::test]
async fn what_is_tried_is_ended() {
    let endless = format!("60{}", std::process::id());
    let told = tried(&format!("printf abc; exec sleep {endless}")).await;
    assert_eq!((told.sign, told.console.as_slice()), (Sign::Silence(SHORT.silent), b"abc".as_slice()));
    assert!(!runs(&endless), "it goes on");
}

#[tokio::test]
async fn one_that_ends_early_has_its_last_words_told() {
    let told = tried("echo out; echo err >&2; exit 3").await;
    assert_eq!(
        (told.sign, told.console.as_slice(), told.words.as_slice()),
        (Sign::Ended, b"out\n".as_slice(), b"err\n".as_slice())
    );
    assert!(boot(Command::new("/nowhere/vmm"), SHORT).await.is_err());
}

/// The name of the test below, in a process of its own that is killed.
const INSIDE: &str = "HEARTH_TEST_SELFTEST";

#[test]
fn it_ends_with_whoever_tries() {
    if let Some(word) = std::env::var_os(INSIDE) {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), &format!("echo up >&2; exec sleep {}", word.to_str().unwrap()));
        let long = Patience { silent: Duration::from_secs(60), in_all: Duration::from_secs(60) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _killed_meanwhile = runtime.block_on(boot(Command::new(program), long));
        return;
    }
    let endless = format!("61{}", std::process::id());
    let test = "vmm::shared::selftest::tests::it_ends_with_whoever_tries";
    let mut other = std::process::Command::new(std::env::current_exe().unwrap());
    let mut other =
        other.args(["--exact", test]).env(INSIDE, &endless).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = |holds: &dyn Fn() -> bool, what: &str| {
        let from = Instant::now();
        while !holds() {
            assert!(from.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let sleeps = || runs(&format!("sleep\0{endless}"));
    until(&sleeps, "it was not started");
    other.kill().unwrap();
    other.wait().unwrap();
    until(&|| !sleeps(), "it goes on");
}
