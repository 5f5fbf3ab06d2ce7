//! The user and the root of a launch, and what is made of them.

use super::*;
use crate::vmm::confinement::Thread;
use std::os::unix::fs::MetadataExt;

const UID: u32 = 1_900_080_000;
const OLD: &str = "-chroot dir     chroot to dir just before starting the VM\n-runas user     change to user id user\n";
const NEW: &str =
    "-run-with [async-teardown=on|off][,chroot=dir][user=username|uid:gid]\n                Set miscellaneous\n-msg x\n";

#[test]
fn each_age_of_qemu_is_told_in_its_words() {
    let words = |help: &str| {
        let own = Own { uid: 7, root: "root-3".into(), manner: Manner::of(help).unwrap() };
        own.words().join(" ")
    };
    assert_eq!(words(OLD), "-chroot root-3 -runas 7:7");
    assert_eq!(words(NEW), "-run-with chroot=root-3 -run-with user=7:7");
    let between = "-runas user     change\n-run-with [async-teardown=on|off][,chroot=dir]\n-chroot dir     old\n-x user=\n";
    assert_eq!(words(between), "-run-with chroot=root-3 -runas 7:7");
    for help in ["", "-chroot dir\n", "-runas user\n", "-run-with [async-teardown=on|off]\n-x chroot=,user=\n"] {
        assert_eq!(Manner::of(help), None, "{help}");
    }
}

#[test]
fn a_range_that_is_somebodys_and_a_qemu_that_cannot_are_refused() {
    let vms = tempfile::tempdir().unwrap();
    let open = |uids, help| Users::open(vms.path().into(), uids, help).map(drop).map_err(|error| error.to_string());
    open(UID..=UID, OLD).unwrap();
    assert!(open(0..=UID, OLD).unwrap_err().contains("root (0) is in it"));
    assert!(open(UID..=UID, "").unwrap_err().contains("-runas and -chroot"));
}

#[test]
fn a_root_is_empty_and_nobodys_and_goes_with_its_launch() {
    let vms = tempfile::tempdir().unwrap();
    let users = Users::open(vms.path().into(), UID..=UID, OLD).unwrap();
    let (vm, other) = (VmId::from_bits(1), VmId::from_bits(2));
    let folder = vms.path().join(vm.to_string());
    fs::create_dir(&folder).unwrap();
    let own = users.prepare(vm, &folder, Attempt(3)).unwrap();
    assert_eq!(own.words().join(" "), format!("-chroot root-3 -runas {UID}:{UID}"));
    let root = folder.join("root-3");
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(super::root(&folder, &machine(3)), Some(root.clone()));
    assert_eq!(super::root(&folder, &machine(4)), None, "another launch, as of an older hearth");
    // As many VMs as uids.
    fs::create_dir(vms.path().join(other.to_string())).unwrap();
    let full = users.prepare(other, &vms.path().join(other.to_string()), Attempt(1)).unwrap_err().to_string();
    assert!(full.contains("remove VMs"), "{full}");
    remove(&folder).unwrap();
    assert!(!root.exists() && uid::allotted(&folder) == Some(UID), "the uid stays");
    remove(&folder).unwrap();
    remove(Path::new("/nowhere")).unwrap();
}

#[test]
fn what_was_started_so_must_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root-1");
    fs::create_dir(&root).unwrap();
    let inode = fs::metadata(&root).unwrap();
    let thread = Thread {
        tid: 7,
        name: "qemu".into(),
        uids: [UID; 4],
        gids: [UID; 4],
        groups: vec![UID],
        no_new_privs: true,
        seccomp: 2,
        capabilities: 0,
        bounding: !0,
    };
    let look = Confinement {
        threads: vec![thread],
        own_pid_ns: false,
        own_net_ns: false,
        own_mount_ns: false,
        root: (inode.dev(), inode.ino()),
        chroot: true,
        cgroup: None,
    };
    let found = |look: &Confinement| problems(folder.path(), &root, look).join("; ");
    assert_eq!(found(&look), "", "a lost file ends nobody");
    fs::write(folder.path().join("uid"), format!("{UID}\n")).unwrap();
    assert_eq!(found(&look), "");
    let with = |change: fn(&mut Confinement)| {
        let mut look = look.clone();
        change(&mut look);
        found(&look)
    };
    assert!(with(|look| look.threads[0].uids[1] = 0).contains("as user"));
    assert!(with(|look| look.threads[0].capabilities = 1).contains("capabilities"));
    assert!(with(|look| look.threads[0].seccomp = 0).contains("seccomp"));
    assert!(with(|look| look.threads[0].no_new_privs = false).contains("privileges"));
    assert!(with(|look| (look.root, look.chroot) = ((0, 0), false)).contains("whole file system"));
}

#[test]
fn a_container_that_lacks_a_right_is_told_which() {
    assert_eq!(lacking("Name:\tx\nCapEff:\t000001ffffffffff\n"), Vec::<&str>::new());
    // Docker's.
    assert_eq!(lacking("CapEff:\t00000000a80425fb\n"), ["SYS_PTRACE"]);
    assert_eq!(lacking("").len(), NEEDED.len());
}

fn machine(launch: u64) -> Machine {
    Machine {
        launch: Attempt(launch),
        driver: domain::vm::Driver::Qemu,
        pid: 1,
        start_ticks: 1,
        executable: String::new(),
        version: String::new(),
    }
}
