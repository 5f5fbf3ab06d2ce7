//! The self-test on programs that stand for Firecracker, and on a real one where there is one.

use super::*;
use std::fs;

const SHORT: Patience = Patience { silent: Duration::from_millis(1500), in_all: Duration::from_secs(4) };

/// A program that does this with `$@`. Another program copies it: see the doctor's tests.
fn program(folder: &Path, body: &str) -> PathBuf {
    let (text, file) = (folder.join("text"), folder.join("firecracker"));
    fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
    let copied = std::process::Command::new("install").args(["-m", "755"]).args([&text, &file]).status().unwrap();
    assert!(copied.success());
    file
}

async fn verdict(body: &str) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    boot(&program(folder.path(), body), Path::new("/kernel"), SHORT).await.unwrap()
}

/// As `ps` would find it.
fn runs(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let state = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && !state.contains(") Z ")
    })
}

#[tokio::test]
async fn a_guest_that_misses_its_root_has_booted() {
    let told =
        verdict("echo booting; printf 'VFS: Unable to mount '; sleep 0.1; echo 'root fs on unknown-block(0,0)'; sleep 600").await;
    assert!(told.works && told.reason.starts_with("a guest boots with firecracker on kvm, in "), "{told:?}");
}

#[tokio::test]
async fn a_guest_that_stands_still_has_not_and_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let endless = format!("60{}", std::process::id());
    let body = format!("echo '2026 [anonymous-instance:main] Running'; printf abc; exec sleep {endless}");
    let begun = Instant::now();
    let told = boot(&program(folder.path(), &body), Path::new("/kernel"), SHORT).await.unwrap();
    assert!(
        !told.works
            && told.reason.contains("(3 bytes printed, then nothing for 1.5 s)")
            && told.reason.contains("runs no guests"),
        "{told:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!runs(&endless), "it goes on");
}

/// Slower than the silence that is borne, but never silent; and one that never comes to an end.
#[tokio::test]
async fn one_that_is_only_slow_gets_its_time_but_no_more() {
    let word = |end: &str| format!("for i in 1 2 3 4 5; do sleep 0.5; echo $i; done; {end}");
    let slow = verdict(&word("echo 'Unable to mount root fs'; sleep 600")).await;
    assert!(slow.works, "{slow:?}");
    let endless = verdict("while :; do sleep 0.2; echo again; done").await;
    assert!(!endless.works && endless.reason.starts_with("a guest did not boot with firecracker within 4 s"), "{endless:?}");
}

#[tokio::test]
async fn one_that_ends_early_is_quoted() {
    let told = verdict("echo '2026-01-01 [anonymous-instance:main] RunWithoutApiError error: no such kernel'; exit 1").await;
    assert!(!told.works && told.reason.ends_with("RunWithoutApiError error: no such kernel"), "{told:?}");
    let told = verdict("printf 'broken\\033[31m' >&2; exit 3").await;
    assert!(told.reason.ends_with(": broken[31m"), "{told:?}");
    let told = verdict("exit 0").await;
    assert!(told.reason.ends_with("it said nothing"), "{told:?}");
}

#[tokio::test]
async fn it_is_told_what_the_machine_is_and_the_file_goes_with_us() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("settings");
    let body = format!("echo \"$1 $2\" >'{0}.options'; cat \"$3\" >'{0}'; echo 'Unable to mount root fs'", copy.display());
    let told = boot(&program(folder.path(), &body), Path::new("/k \"x"), PATIENCE).await.unwrap();
    assert!(told.works, "{told:?}");
    let settings: serde_json::Value = serde_json::from_slice(&fs::read(&copy).unwrap()).unwrap();
    assert_eq!(settings["boot-source"]["kernel_image_path"], "/k \"x");
    assert_eq!(settings["machine-config"], json!({ "vcpu_count": 1, "mem_size_mib": 128 }));
    assert_eq!(fs::read_to_string(copy.with_extension("options")).unwrap(), "--no-api --config-file\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_was_not_tried() {
    assert!(matches!(boot(Path::new("/nowhere/fc"), Path::new("/k"), PATIENCE).await, Err(Untried::Start { .. })));
    let missing = run(Path::new("/nowhere/fc"), None).await.unwrap_err();
    assert!(matches!(missing, Untried::NoKernel | Untried::Kvm { .. }), "{missing}");
}

/// With `HEARTH_FIRECRACKER` and `HEARTH_SELFTEST_KERNEL`; `HEARTH_SELFTEST_EXPECT` (`boots`, `hangs`) says what this machine is known to do.
#[tokio::test]
async fn a_real_firecracker_tells() {
    let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let (Some(binary), Some(kernel)) = (named("HEARTH_FIRECRACKER"), named("HEARTH_SELFTEST_KERNEL")) else {
        eprintln!("SKIPPED: HEARTH_FIRECRACKER and HEARTH_SELFTEST_KERNEL name no real ones");
        return;
    };
    let begun = Instant::now();
    let told = match run(&binary, Some(&kernel)).await {
        Ok(told) => told,
        Err(untried) => {
            eprintln!("SKIPPED: {untried}");
            return;
        }
    };
    eprintln!("{told:?} after {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < PATIENCE.in_all + Duration::from_secs(5));
    match std::env::var("HEARTH_SELFTEST_EXPECT").as_deref() {
        Ok("boots") => assert!(told.works, "{told:?}"),
        Ok("hangs") => assert!(!told.works && told.reason.contains("stands still"), "{told:?}"),
        _ => {}
    }
}
