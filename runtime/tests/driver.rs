//! The driver of `hearth up`: a Firecracker that can't be is refused with what to do, before anything is made; what a driver can is shown.

// The helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[path = "support/process.rs"]
mod process;

struct Place {
    folder: tempfile::TempDir,
}

struct Told {
    code: Option<i32>,
    err: String,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// With nothing on PATH.
    fn up(&self, options: &[&str], environment: &[(&str, &Path)]) -> Told {
        let data = self.data();
        let mut command =
            process::hearth(&["up", "--no-network", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]);
        command.args(options).env_remove("HEARTH_FIRECRACKER").env_remove("HEARTH_JAILER").env("PATH", self.folder.path());
        command.envs(environment.iter().copied());
        let output = command.output().unwrap();
        Told { code: output.status.code(), err: String::from_utf8(output.stderr).unwrap() }
    }

    /// A program that says so. Another program copies it, so that nobody has it open for writing when it is started.
    fn says(&self, name: &str, text: &str) -> PathBuf {
        let (script, program) = (self.folder.path().join("script"), self.folder.path().join(name));
        fs::write(&script, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
        assert!(Command::new("install").args(["-m", "755"]).args([&script, &program]).status().unwrap().success());
        program
    }
}

#[track_caller]
fn refused(place: &Place, told: &Told, words: &[&str]) {
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.err.contains("error: ") && told.err.contains("hint: "), "{}", told.err);
    for word in words {
        assert!(told.err.contains(word), "{word:?} is not in {}", told.err);
    }
    assert!(!place.data().exists(), "a data directory was made for a server that did not start");
}

#[test]
fn a_firecracker_that_is_not_there_leaves_nothing_behind() {
    let place = Place::new();
    let absent = place.folder.path().join("absent");
    let named = absent.to_str().unwrap();
    refused(&place, &place.up(&["--vmm", "firecracker"], &[]), &["Firecracker is not installed", "--firecracker"]);
    for vmm in ["firecracker", "auto"] {
        let told = place.up(&["--vmm", vmm, "--firecracker", named], &[]);
        refused(&place, &told, &[named, "is not there or no program"]);
        let told = place.up(&["--vmm", vmm], &[("HEARTH_FIRECRACKER", &absent)]);
        refused(&place, &told, &[named, "HEARTH_FIRECRACKER"]);
    }
}

#[test]
fn a_jailer_that_does_not_fit_leaves_nothing_behind() {
    let place = Place::new();
    let firecracker = place.says("firecracker", "Firecracker v1.16.1");
    refused(&place, &place.up(&["--vmm", "firecracker"], &[]), &["the jailer is not installed", "--no-jailer"]);
    let absent = place.folder.path().join("absent");
    let told = place.up(&["--vmm", "firecracker"], &[("HEARTH_FIRECRACKER", &firecracker), ("HEARTH_JAILER", &absent)]);
    refused(&place, &told, &["HEARTH_JAILER", absent.to_str().unwrap()]);
    place.says("jailer", "Jailer v1.15.0");
    refused(&place, &place.up(&["--vmm", "firecracker"], &[]), &["1.16.1", "1.15.0", "one release"]);
    place.says("firecracker", "Firecracker v1.7.0");
    refused(&place, &place.up(&["--vmm", "firecracker", "--no-jailer"], &[]), &["1.7.0", "1.8 or newer"]);
}

/// A VM's disk under another driver would not be found at its next start, and its process not known for what it is.
#[test]
fn a_driver_that_can_not_read_the_disks_that_are_there_is_refused() {
    let place = Place::new();
    place.says("firecracker", "Firecracker v1.16.1");
    let vm = place.data().join("vms/vm_00000000000000000000000001");
    fs::create_dir_all(&vm).unwrap();
    for (disk, vmm, word) in [("disk.qcow2", "firecracker", "--vmm qemu"), ("disk.raw", "qemu", "--vmm firecracker")] {
        fs::write(vm.join(disk), b"precious").unwrap();
        let mut options = vec!["--vmm", vmm];
        options.extend((vmm == "firecracker").then_some("--no-jailer"));
        let told = place.up(&options, &[]);
        assert_eq!(told.code, Some(1), "{}", told.err);
        assert!(told.err.contains(word) && told.err.contains("another --data-dir"), "{}", told.err);
        assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1, "nothing was made");
        fs::remove_file(vm.join(disk)).unwrap();
    }
}

#[test]
fn options_that_contradict_are_told() {
    let place = Place::new();
    for (options, word) in [
        (&["--no-jailer", "--jailer", "/x"][..], "--jailer"),
        (&["--no-jailer", "--jailer-uids", "300000-300001"], "--jailer-uids"),
        (&["--jailer-uids", "0-65535"], "root"),
        (&["--jailer-uids", "9000-8000"], "above"),
        (&["--jailer-uids", "many"], "FIRST-LAST"),
        (&["--subnet", "10.0.0.0/33"], "10.0.0.0/33"),
    ] {
        let told = place.up(&[&["--vmm", "firecracker"], options].concat(), &[]);
        assert!(told.code == Some(2) || told.code == Some(1), "{}", told.err);
        assert!(told.err.contains(word), "{word:?} is not in {}", told.err);
        assert!(!place.data().exists());
    }
}

#[test]
fn a_host_is_shown_with_what_its_driver_can_and_can_not() {
    let place = Place::new();
    let server = process::Server::start(&place.data());
    let data = place.data();
    let ask = |words: &[&str]| {
        let ran = process::run(&[words, &["--url", &server.url, "--data-dir", data.to_str().unwrap()]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    };
    let id = ask(&["host", "ls", "-q"]);
    let shown = ask(&["host", "get", id.trim()]);
    let line = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_eq!(
        line("can  "),
        "pause, guest agent, power off told, memory hotplug, balloon, disk rate limit, network rate limit, metadata",
        "{shown}"
    );
    assert!(line("can not").starts_with("console input, snapshot, diff snapshot, restore, drive hotplug"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&ask(&["host", "get", id.trim(), "-o", "json"])).unwrap();
    assert_eq!(json["status"]["capabilities"]["pause"], true, "{json}");
}
