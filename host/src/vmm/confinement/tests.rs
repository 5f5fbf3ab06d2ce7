//! The reading on texts, and on processes that are made for it.

use super::*;
use std::process::{Command, Stdio};

const STATUS: &str = "Name:\tfc_vcpu 0\nUmask:\t0077\nState:\tS (sleeping)\nTgid:\t77\nPid:\t78\nUid:\t1900000000\t1900000000\t1900000000\t\
    1900000000\nGid:\t1900000000\t1900000000\t1900000000\t1900000000\nFDSize:\t2048\nGroups:\t \nNSpid:\t78\t2\nCapInh:\t0000000000000000\n\
    CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n\
    Seccomp:\t2\nSeccomp_filters:\t1\n";

fn thread() -> Thread {
    parse_status(78, STATUS).unwrap()
}

fn jailed(threads: Vec<Thread>) -> Confinement {
    let root = fs::metadata("/tmp").unwrap();
    Confinement {
        threads,
        own_pid_ns: true,
        own_net_ns: true,
        own_mount_ns: true,
        root: (root.dev(), root.ino()),
        chroot: true,
        cgroup: Some("/hearth-x/vm_1".into()),
    }
}

fn wanted() -> Wanted {
    Wanted { cgroup: Some("vm_1".into()), ..Wanted::jailed(1_900_000_000, Path::new("/tmp")) }
}

#[test]
fn a_status_is_read() {
    let expected = Thread {
        tid: 78,
        name: "fc_vcpu 0".into(),
        uids: [1_900_000_000; 4],
        gids: [1_900_000_000; 4],
        groups: vec![],
        no_new_privs: true,
        seccomp: 2,
        capabilities: 0,
        bounding: 0x1ff_ffff_ffff,
    };
    assert_eq!(thread(), expected);
    let root = STATUS.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000000001").replace("Groups:\t ", "Groups:\t0 27 ");
    let root = parse_status(1, &root).unwrap();
    assert_eq!((root.capabilities, root.groups), (1, vec![0, 27]));
}

#[test]
fn what_is_missing_counts_as_no_and_what_ended_as_nobody() {
    let old = parse_status(1, &STATUS.replace("NoNewPrivs:\t1\n", "").replace("Seccomp:\t2\n", "")).unwrap();
    assert!(!old.no_new_privs && old.seccomp == 0);
    assert_eq!(parse_status(1, &STATUS.replace("S (sleeping)", "Z (zombie)")), None);
    for text in ["", "Name:\tx\n", "Uid:\t1\t1\t1\nGid:\t1\n", "Name", "\n\n:\n"] {
        assert_eq!(parse_status(1, text), None, "{text:?}");
    }
    for end in 0..STATUS.len() {
        let _no_panic = parse_status(1, &STATUS[..end]);
    }
}

#[test]
fn the_group_of_the_second_version_is_found_in_a_mixed_list() {
    assert_eq!(parse_cgroup("12:pids:/a\n1:name=systemd:/b\n0::/hearth-x/vm_1\n"), Some("/hearth-x/vm_1".into()));
    assert_eq!(parse_cgroup("12:pids:/a\n"), None);
    assert_eq!(parse_cgroup(""), None);
}

#[test]
fn a_process_that_is_as_it_should_be_has_no_problem() {
    assert_eq!(jailed(vec![thread(), thread()]).problems(&wanted()), Vec::<String>::new());
    let nothing = Wanted { filtered: false, own_pid_ns: false, ..Wanted::unjailed() };
    let loose = Confinement { own_pid_ns: false, own_net_ns: false, own_mount_ns: false, chroot: false, ..jailed(vec![]) };
    assert_eq!(loose.problems(&nothing), Vec::<String>::new());
}

/// One row for each thing that may be wrong; each must give exactly its own sentence, whichever thread it is.
#[test]
fn each_thing_that_is_wrong_is_told_alone() {
    type Change = fn(&mut Confinement);
    let rows: [(&str, Change); 14] = [
        ("do not run as user", |one| one.threads[1].uids[2] = 0),
        ("do not run as group", |one| one.threads[1].gids[0] = 0),
        ("further groups", |one| one.threads[1].groups.push(0)),
        ("no seccomp filter", |one| one.threads[1].seccomp = 0),
        ("no seccomp filter", |one| one.threads[0].seccomp = 1),
        ("may gain privileges", |one| one.threads[1].no_new_privs = false),
        ("capabilities (0x20)", |one| one.threads[1].capabilities = 0x20),
        ("pid namespace", |one| one.own_pid_ns = false),
        ("network namespace", |one| one.own_net_ns = false),
        ("mount namespace", |one| one.own_mount_ns = false),
        ("the whole file system", |one| (one.chroot, one.root) = (false, (0, 0))),
        ("another folder than /tmp", |one| one.root.1 += 1),
        ("not in its cgroup vm_1 but in /", |one| one.cgroup = Some("/".into())),
        ("not in its cgroup vm_1 but in none", |one| one.cgroup = None),
    ];
    for (sentence, change) in rows {
        let mut one = jailed(vec![thread(), thread()]);
        change(&mut one);
        let told = one.problems(&wanted());
        assert!(matches!(&told[..], [only] if only.contains(sentence)), "{sentence}: {told:?}");
    }
    let gone = Wanted { root: Some("/nowhere/root".into()), ..wanted() };
    assert!(matches!(&jailed(vec![thread()]).problems(&gone)[..], [only] if only.contains("can't be looked at")));
}

#[test]
fn this_process_is_not_confined_from_itself() {
    let own = look(std::process::id()).unwrap();
    assert!(!own.own_pid_ns && !own.own_net_ns && !own.own_mount_ns && !own.chroot, "{own:?}");
    assert!(own.threads.iter().any(|thread| thread.tid == std::process::id()));
    assert_eq!(own.uid(), Some(nix::unistd::geteuid().as_raw()));
}

#[test]
fn a_process_that_is_gone_is_not_found() {
    let mut child = Command::new("/bin/true").stdin(Stdio::null()).spawn().unwrap();
    // First a zombie, then nothing.
    let ended = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), ended).unwrap();
    assert_eq!(look(child.id()).unwrap_err().kind(), io::ErrorKind::NotFound);
    child.wait().unwrap();
    assert_eq!(look(child.id()).unwrap_err().kind(), io::ErrorKind::NotFound);
}

/// A process whose threads come and go while it is looked at.
#[test]
fn threads_that_vanish_are_passed_over() {
    let busy = std::thread::spawn(|| {
        for _ in 0..200 {
            let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| ())).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
    let mut looks = 0;
    while !busy.is_finished() || looks == 0 {
        assert!(!look(std::process::id()).unwrap().threads.is_empty());
        looks += 1;
    }
    busy.join().unwrap();
}

/// `cat` in namespaces, a root and a user of its own: what it echoes shows that it is there.
#[test]
fn a_process_in_namespaces_and_a_root_of_its_own_is_seen_there() {
    let uid = 1_900_070_000;
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--root=/usr",
        "--",
        "/bin/setpriv",
        "--reuid",
        &uid.to_string(),
        "--regid",
        &uid.to_string(),
    ]);
    command.args(["--clear-groups", "--no-new-privs", "/bin/cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: unshare is not installed");
        return;
    };
    let mut input = child.stdin.take().unwrap();
    let mut echo = [0];
    let _ended_already = io::Write::write_all(&mut input, b"x");
    if io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut echo).is_err() {
        child.wait().unwrap();
        eprintln!("SKIPPED: no process can be put into namespaces here");
        return;
    }
    let seen = look(child.id());
    drop(input);
    child.wait().unwrap();
    let seen = seen.unwrap();
    assert!(seen.own_net_ns && seen.own_mount_ns && !seen.own_pid_ns && seen.chroot, "{seen:?}");
    let wanted = Wanted { own_pid_ns: false, own_net_ns: true, ..Wanted::jailed(uid, Path::new("/usr")) };
    let told = seen.problems(&wanted);
    // All is as a jailed process's but that nobody gave it a filter.
    assert!(matches!(&told[..], [only] if only.contains("no seccomp filter")), "{told:?}");
}
