//! The doctor on this machine, and its readings of texts from others.

use super::{
    GuestBoot, Options, Status, jail,
    kvm::virtualisation_flag,
    machine::{Cgroups, cgroups, lacking, meminfo},
    network::parse_chains,
    vmm::{numbers, older},
};
use std::{collections::BTreeSet, fs};

fn report(options: Options) -> super::Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(super::run(options))
}

fn options(data_dir: &std::path::Path) -> Options {
    Options {
        data_dir: data_dir.to_owned(),
        firecracker: None,
        jailer: None,
        jailer_uids: 300_000..365_536,
        guest_boot: GuestBoot::NotTried,
        firecracker_boot: GuestBoot::NotTried,
    }
}

fn devices() -> String {
    fs::read_to_string("/proc/net/dev").unwrap().lines().map(|line| line.split(':').next().unwrap_or("").to_owned()).collect()
}

#[test]
fn every_check_has_one_line_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let before = devices();
    let report = report(options(folder.path()));
    assert_eq!(devices(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let text = report.render_text();
    eprintln!("{text}");
    assert_eq!(text.lines().count(), report.checks.len());
    assert_eq!(report.checks.iter().map(|check| check.id).collect::<BTreeSet<_>>().len(), report.checks.len(), "ids are unique");
    let ids = [
        "cpu-virtualisation",
        "kvm-device",
        "kvm-guest",
        "firecracker-guest",
        "vhost-vsock",
        "firecracker",
        "jailer",
        "qemu",
        "mkfs-ext4",
        "jailer-uids",
        "tun",
        "bridge",
        "port-isolation",
        "vlan-filtering",
        "nftables",
        "ip-forwarding",
        "other-rules",
        "reflink",
        "free-disk",
        "kernel",
        "cgroup",
        "free-memory",
        "huge-pages",
        "open-files",
    ];
    assert_eq!(report.checks.iter().map(|check| check.id).collect::<Vec<_>>(), ids);
    for check in &report.checks {
        assert!(check.status != Status::Failed || check.remedy.is_some(), "{check:?}");
    }
    if nix::unistd::geteuid().is_root() {
        for id in ["tun", "bridge", "port-isolation", "nftables"] {
            assert_eq!(report.find(id).map(|check| check.status), Some(Status::Ok), "{text}");
        }
    } else {
        eprintln!("SKIPPED: what only root may try");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["id"], "cpu-virtualisation");
}

#[test]
fn what_the_caller_knows_and_names_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("firecracker");
    let script = |body: &str| {
        // Another program copies it: a descriptor open for writing here could be inherited by a child of another test, and the kernel
        // refuses to run a file that is open for writing.
        let text = folder.path().join("script");
        fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
        let copied = std::process::Command::new("install").args(["-m", "755"]).arg(&text).arg(&program).status().unwrap();
        assert!(copied.success());
        Options {
            firecracker: Some(program.clone()),
            guest_boot: GuestBoot::Fails { detail: "no answer in 500 ms".to_owned() },
            ..options(&folder.path().join("not/yet/there"))
        }
    };
    let found = report(script("echo 'Firecracker v1.16.1'; echo; echo 'Supported snapshot data format versions: v1'"));
    let firecracker = found.find("firecracker").unwrap();
    assert_eq!(firecracker.status, Status::Ok);
    assert!(firecracker.detail.starts_with("Firecracker v1.16.1 ("), "{firecracker:?}");
    let boots = found.find("kvm-guest").unwrap();
    assert!(boots.status == Status::Missing && boots.detail.contains("500 ms") && boots.remedy.is_some(), "{boots:?}");
    let place = folder.path().display().to_string();
    assert!(found.find("free-disk").unwrap().detail.ends_with(&place), "the folder above is looked at");

    let old = report(script("echo 'Firecracker v1.4.0'"));
    assert_eq!(old.find("firecracker").unwrap().status, Status::Warn);
    let broken = report(script("printf 'bad\\033[31m' >&2; exit 3"));
    let check = broken.find("firecracker").unwrap();
    assert!(check.status == Status::Failed && !check.detail.contains('\u{1b}'), "{check:?}");
    assert!(broken.problems().iter().any(|problem| problem.starts_with("Firecracker: ")));
    fs::remove_file(&program).unwrap();
    let absent = report(Options { firecracker: Some(program), ..options(folder.path()) });
    assert_eq!(absent.find("firecracker").unwrap().status, Status::Failed, "a named path that is wrong is no mere absence");
}

/// Makes it by another program: see above.
fn says(folder: &std::path::Path, name: &str, text: &str) {
    let script = folder.join("text");
    fs::write(&script, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
    let program = folder.join(name);
    assert!(std::process::Command::new("install").args(["-m", "755"]).args([&script, &program]).status().unwrap().success());
}

#[test]
fn firecracker_and_its_jailer_must_be_of_one_release() {
    let folder = tempfile::tempdir().unwrap();
    let named = || {
        let firecracker_boot = GuestBoot::Boots { detail: "a guest boots with firecracker on kvm, in 200 ms".to_owned() };
        Options { firecracker: Some(folder.path().join("firecracker")), firecracker_boot, ..options(folder.path()) }
    };
    says(folder.path(), "firecracker", "Firecracker v1.16.1");
    says(folder.path(), "jailer", "Jailer v1.16.1");
    let same = report(named());
    let jailer = same.find("jailer").unwrap();
    assert!(jailer.status == Status::Ok && jailer.detail.starts_with("Jailer v1.16.1 ("), "{jailer:?}");
    let boots = same.find("firecracker-guest").unwrap();
    assert!(boots.status == Status::Ok && boots.detail.contains("200 ms"), "{boots:?}");
    says(folder.path(), "jailer", "Jailer v1.15.0");
    let other = report(named());
    let jailer = other.find("jailer").unwrap();
    assert!(jailer.status == Status::Failed && jailer.detail.contains("1.15.0") && jailer.remedy.is_some(), "{jailer:?}");
    let absent = report(Options { jailer: Some(folder.path().join("absent")), ..named() });
    assert_eq!(absent.find("jailer").unwrap().status, Status::Failed, "a named path that is wrong is no mere absence");
    let place = other.find("reflink").unwrap();
    assert!(place.status == Status::Ok || place.detail.contains("sparse copy"), "{place:?}");
}

#[test]
fn uids_of_jails_are_nobody_elses() {
    let (users, groups) = ("root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n", "root:x:0:\nkvm:x:104:ann\n");
    let (free, all) = (300_000..365_536, "         0          0 4294967295\n");
    let judge = |range: &std::ops::Range<u32>, subuid: &str, map: &str| jail::judge(range, users, groups, subuid, map);
    let ok = judge(&free, "ann:100000:65536\n", all);
    assert!(ok.status == Status::Ok && ok.detail == "300000-365535 (65536 VMs at most), nobody else's", "{ok:?}");
    assert_eq!(judge(&free, "", "").status, Status::Ok, "a kernel without user namespaces");
    for (range, whose) in [(1000..1001, "ann"), (100..200, "kvm")] {
        let taken = judge(&range, "", all);
        assert!(taken.status == Status::Failed && taken.detail.contains(whose) && taken.remedy.is_some(), "{taken:?}");
    }
    let shared = judge(&free, "ann:300000:1\nbob:365535:9\n", all);
    assert!(shared.status == Status::Warn && shared.detail.contains("ann"), "{shared:?}");
    assert_eq!(judge(&free, "ann:365536:9\n", all).status, Status::Ok, "right behind it");
    let outside = judge(&free, "", "0 100000 65536\n");
    assert!(outside.status == Status::Warn && outside.detail.contains("container"), "{outside:?}");
}

#[test]
fn control_groups_are_told_apart() {
    assert_eq!(lacking("cpuset cpu io memory hugetlb pids rdma"), Vec::<&str>::new());
    assert_eq!(lacking("cpuset io"), ["cpu", "memory", "pids"], "cpuset is not cpu");
    let unified = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
    assert_eq!(cgroups(unified), Cgroups::Unified { at: "/sys/fs/cgroup".to_owned() });
    let mixed = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    assert_eq!(cgroups(mixed), Cgroups::Mixed);
    assert_eq!(cgroups("proc /proc proc rw 0 0\n"), Cgroups::Absent);
}

#[test]
fn versions_and_flags_are_read() {
    for (text, expected) in [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", Some((7, 2))),
        ("Firecracker v1.16.1", Some((1, 16))),
        ("6.1.0-56-cloud-amd64", Some((6, 1))),
        ("nftables v1.0.6 (Lester Gooch #5)", Some((1, 0))),
        ("no number", None),
    ] {
        assert_eq!(numbers(text), expected, "{text}");
    }
    assert!(older("v1.7.9", (1, 8)) && !older("v1.10.0", (1, 8)) && !older("?", (1, 8)));
    assert_eq!(virtualisation_flag("model: x\nflags\t\t: fpu vmx\n"), Some("vmx"));
    assert_eq!(virtualisation_flag("flags : fpu svm_lock\n"), None);
    assert_eq!(meminfo("MemTotal:  100 kB\nHugePages_Total:       3\n", "HugePages_Total"), Some(3));
}

#[test]
fn chains_that_drop_forwarded_packets_are_named() {
    let listing = br#"{"nftables":[{"metainfo":{"version":"1.0.6"}},
        {"chain":{"family":"ip","table":"filter","name":"FORWARD","type":"filter","hook":"forward","prio":0,"policy":"drop"}},
        {"chain":{"family":"ip","table":"filter","name":"INPUT","hook":"input","policy":"drop"}},
        {"chain":{"family":"inet","table":"hearth_hearth0","name":"forwarding","hook":"forward","policy":"accept"}}]}"#;
    assert_eq!(parse_chains(listing), Ok(vec!["ip filter FORWARD".to_owned()]));
    assert!(parse_chains(b"no").is_err());
}
