//! What a guest that broke out of Firecracker would find itself in: looked at from outside, thread by thread, on a guest that runs.

use crate::guests::{oom_score_adj, output};
use crate::lab::{Lab, UIDS};
use host::vmm::{Vmm, firecracker::JailChoice};
use std::{collections::BTreeSet, path::PathBuf};

/// The values of `key` in the status of every thread.
fn of_every_thread(pid: u32, key: &str) -> BTreeSet<String> {
    let threads: Vec<PathBuf> =
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The API, the vCPU and the main one.
    assert!(threads.len() >= 3, "{threads:?}");
    let value = |thread: &PathBuf| {
        let status = std::fs::read_to_string(thread.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    threads.iter().map(value).collect()
}

fn only(value: &str) -> BTreeSet<String> {
    BTreeSet::from([value.to_owned()])
}

fn link(pid: &str, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_thread_of_a_jailed_process_is_confined() {
    let Some(lab) = Lab::open("every_thread_of_a_jailed_process_is_confined").await else { return };
    let driver = lab.driver().await;
    let (machine, guest) = lab.booted(&driver).await;
    assert_eq!(output(&*guest, &["echo", "runs"]).await, "runs");
    let pid = machine.pid;
    assert_eq!(oom_score_adj(pid), "200", "the kernel ends a guest before hearth");
    assert_eq!(of_every_thread(pid, "NoNewPrivs"), only("1"));
    assert_eq!(of_every_thread(pid, "Seccomp"), only("2"), "a filter");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of_every_thread(pid, set), only("0000000000000000"), "{set}");
    }
    for kind in ["Uid", "Gid"] {
        let ids = of_every_thread(pid, kind);
        let real = ids.first().unwrap().split(' ').next().unwrap();
        assert!(UIDS.contains(&real.parse().unwrap()), "{kind} {ids:?} of {UIDS:?}");
        assert_eq!(ids, only(&[real; 4].join(" ")), "{kind}: real, effective, saved, of files, of all threads");
    }
    assert_eq!(of_every_thread(pid, "Groups"), only(""), "no supplementary group");
    // Its own namespaces: it sees neither the processes nor the mounts nor the network of the host.
    for space in ["ns/pid", "ns/mnt", "ns/net"] {
        assert_ne!(link(&pid.to_string(), space), link("self", space), "{space}");
    }
    assert!(of_every_thread(pid, "NSpid").iter().all(|ids| ids.split(' ').count() == 2), "a number of its own inside");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")), "the first there: {status}");

    // Its root is the chroot: nothing of the host's is in it, and no program but its own.
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let names: BTreeSet<String> =
        std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    eprintln!("in the jail: {names:?}");
    for absent in ["bin", "etc", "home", "lib", "proc", "sys", "tmp", "usr", "var"] {
        assert!(!names.contains(absent), "{absent} is in {names:?}");
    }
    assert!(root.join("dev/kvm").exists() && !root.join("dev/mem").exists() && !root.join("dev/vda").exists());
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_have_neither_uid_nor_files_in_common() {
    let Some(mut lab) = Lab::open("two_machines_have_neither_uid_nor_files_in_common").await else { return };
    let driver = lab.driver().await;
    let (machine, _guest) = lab.booted(&driver).await;
    let first = lab.vm;
    lab.vm = domain::VmId::from_bits(rand::random());
    let (other, _other_guest) = lab.booted(&driver).await;
    assert!(of_every_thread(machine.pid, "Uid").is_disjoint(&of_every_thread(other.pid, "Uid")));
    assert!(of_every_thread(machine.pid, "Gid").is_disjoint(&of_every_thread(other.pid, "Gid")));
    // What both may write; kernel and initramfs are shared to be read.
    use std::os::unix::fs::MetadataExt;
    let writable = |pid: u32| -> BTreeSet<(u64, u64)> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/root")).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
        entries
            .filter(|data| data.is_file() && UIDS.contains(&data.uid()) && data.mode() & 0o200 != 0)
            .map(|data| (data.dev(), data.ino()))
            .collect()
    };
    let (ours, theirs) = (writable(machine.pid), writable(other.pid));
    assert!(!ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs), "{ours:?} {theirs:?}");
    for (vm, machine) in [(first, &machine), (lab.vm, &other)] {
        driver.kill(vm, machine).await.unwrap();
        driver.remove(vm).await.unwrap();
    }
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_jail_still_has_its_filters() {
    let Some(lab) = Lab::open("a_process_without_a_jail_still_has_its_filters").await else { return };
    let driver = lab.driver_with(JailChoice::None).await;
    let (machine, _guest) = lab.booted(&driver).await;
    assert_eq!(of_every_thread(machine.pid, "Seccomp"), only("2"));
    assert_eq!(of_every_thread(machine.pid, "NoNewPrivs"), only("1"));
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}
