//! The self-test on programs that stand for Firecracker, and on a real one where there is one.

use super::super::super::shared::selftest::tests::{SHORT, program};
use super::*;
use std::{
    fs,
    time::{Duration, Instant},
};

/// Of a program that does this.
async fn verdict(body: &str) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    boot(&program(folder.path(), body), Path::new("/kernel"), SHORT).await.unwrap()
}

#[tokio::test]
async fn a_guest_that_misses_its_root_has_booted() {
    let told =
        verdict("echo booting; printf 'VFS: Unable to mount '; sleep 0.1; echo 'root fs on unknown-block(0,0)'; sleep 600").await;
    assert!(told.works && told.reason.starts_with("a guest boots with firecracker on kvm, in "), "{told:?}");
}

#[tokio::test]
async fn a_guest_that_stands_still_has_not() {
    let told = verdict("echo '2026 [anonymous-instance:main] Running'; printf abc; exec sleep 600").await;
    assert!(
        !told.works
            && told.reason.contains("(3 bytes printed, then nothing for 1.5 s)")
            && told.reason.contains("runs no guests"),
        "{told:?}"
    );
}

#[tokio::test]
async fn one_that_never_comes_to_an_end_has_not_either() {
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
