//! What a guest that broke out of QEMU would find itself in: looked at from outside, thread by thread, on guests that run.

use super::{Lab, SOON, UIDS};
use crate::{
    contract::end,
    guests::{oom_score_adj, output},
};
use domain::{
    VmId,
    vm::{Exit, Inspection},
};
use host::vmm::{Vmm, qemu::UserChoice};
use std::{collections::BTreeSet, fs, path::PathBuf};

/// The values of `key` in the status of every thread.
fn of_every_thread(pid: u32, key: &str) -> BTreeSet<String> {
    let threads: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(threads.len() >= 2, "{threads:?}");
    let value = |thread: &PathBuf| {
        // A worker may have ended meanwhile.
        let status = fs::read_to_string(thread.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Some(line.unwrap_or_else(|| panic!("no {key} in {status}")).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    threads.iter().filter_map(value).collect()
}

fn only(value: &str) -> BTreeSet<String> {
    BTreeSet::from([value.to_owned()])
}

fn no_root(test: &str) -> bool {
    let no_root = !nix::unistd::geteuid().is_root();
    if no_root {
        crate::guests::skipped(test, "needs root");
    }
    no_root
}

#[tokio::test(flavor = "multi_thread")]
async fn every_thread_of_a_process_is_confined() {
    if no_root("every_thread_of_a_process_is_confined") {
        return;
    }
    let Some(mut lab) = Lab::open("every_thread_of_a_process_is_confined").await else { return };
    let qemu = lab.driver().await;
    let (machine, guest) = lab.booted(&qemu).await;
    // Written through to the disk: workers are made for it.
    output(&*guest, &["dd", "if=/dev/urandom", "of=/x", "bs=64k", "count=64", "conv=fsync"]).await;
    let pid = machine.pid;
    assert_eq!(oom_score_adj(pid), "200", "the kernel ends a guest before hearth");
    let uid = of_every_thread(pid, "Uid").first().unwrap().split(' ').next().unwrap().to_owned();
    assert!(UIDS.contains(&uid.parse().unwrap()), "{uid} of {UIDS:?}");
    for kind in ["Uid", "Gid"] {
        assert_eq!(of_every_thread(pid, kind), only(&[uid.as_str(); 4].join(" ")), "{kind}: real, effective, saved, of files");
    }
    assert_eq!(of_every_thread(pid, "Groups"), only(&uid));
    assert_eq!(of_every_thread(pid, "NoNewPrivs"), only("1"));
    assert_eq!(of_every_thread(pid, "Seccomp"), only("2"), "a filter");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of_every_thread(pid, set), only("0000000000000000"), "{set}");
    }
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "its root is empty");
    assert_ne!(fs::read_link(&root).unwrap(), PathBuf::from("/"));
    let told = qemu.confinement(lab.vm, &machine).await.unwrap().unwrap();
    assert_eq!((told.uid(), told.gid(), told.chroot), (uid.parse().ok(), uid.parse().ok(), true));
    assert!(told.seccomp() && told.no_new_privs() && told.capabilities() == 0, "{told:?}");
    // Another VM is another user.
    let first = lab.vm;
    lab.vm = VmId::from_bits(rand::random());
    let (other, _guest) = lab.booted(&qemu).await;
    assert!(of_every_thread(other.pid, "Uid").is_disjoint(&of_every_thread(pid, "Uid")));
    for (vm, machine) in [(first, &machine), (lab.vm, &other)] {
        qemu.kill(vm, machine).await.unwrap();
        qemu.remove(vm).await.unwrap();
    }
    qemu.sweep(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_adopted_as_it_was_started_and_ended_if_it_is_not_that() {
    if no_root("a_guest_is_adopted_as_it_was_started_and_ended_if_it_is_not_that") {
        return;
    }
    let test = "a_guest_is_adopted_as_it_was_started_and_ended_if_it_is_not_that";
    let Some(lab) = Lab::open(test).await else { return };
    // One that an older hearth started as root goes on.
    let older = lab.driver_with(UserChoice::Hearths).await;
    let (machine, _guest) = lab.booted(&older).await;
    assert_eq!(of_every_thread(machine.pid, "Uid"), only("0 0 0 0"));
    drop(older);
    let newer = lab.driver().await;
    assert_eq!(newer.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    newer.kill(lab.vm, &machine).await.unwrap();
    // One that is confined goes on, whatever this hearth is told of others.
    let (machine, _guest) = lab.booted(&newer).await;
    assert_ne!(of_every_thread(machine.pid, "Uid"), only("0 0 0 0"));
    drop(newer);
    let second = lab.driver_with(UserChoice::Hearths).await;
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    // The record says another user than the kernel.
    fs::write(lab.folder().join("uid"), format!("{}\n", UIDS.end - 1)).unwrap();
    let found = tokio::time::timeout(SOON, second.inspect(lab.vm, &machine)).await.unwrap().unwrap();
    let Inspection::Gone { exit: Exit::Failed { code: -1, detail } } = &found else { panic!("{found:?}") };
    assert!(detail.contains("do not run as user"), "{detail}");
    assert!(matches!(end(&second, lab.vm, &machine).await, Exit::Failed { code: -1, .. }));
    second.remove(lab.vm).await.unwrap();
    second.sweep(&[]).await.unwrap();
}
