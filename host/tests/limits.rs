//! A VM's limits in a real cgroup hierarchy. Needs root and a version 2 hierarchy that has the controllers, which a mixed one has not; without
//! it the test says SKIPPED.

#![allow(clippy::unwrap_used)]

use domain::vm::RateLimits;
use host::vmm::limits::{Needs, apply, limits, transfers};
use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(60);
/// What `xargs` says of a program that was killed.
const ENDED_BY_SIGNAL: i32 = 125;

/// Said aloud, and counted by the run that names a log for it: libtest would call it passed.
fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

/// An owner's group with a VM's in it; removed when dropped.
struct Groups {
    owner: PathBuf,
    vm: PathBuf,
}

impl Groups {
    fn make(test: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
        });
        let controllers =
            mount.as_ref().and_then(|mount| fs::read_to_string(mount.join("cgroup.controllers")).ok()).unwrap_or_default();
        if !["cpu", "memory", "pids"].iter().all(|one| controllers.split_whitespace().any(|word| word == *one)) {
            skipped(test, "needs a cgroup version 2 hierarchy with cpu, memory and pids");
            return None;
        }
        let owner = mount?.join(format!("hearth-t{:08x}", rand::random::<u32>()));
        let vm = owner.join("vm");
        if let Err(error) = fs::create_dir_all(&vm) {
            skipped(test, &format!("no cgroup can be made: {error}"));
            return None;
        }
        Some(Self { owner, vm })
    }

    /// The program in the group, with these words as its last argument: `xargs` starts it when its own input has ended.
    fn start(&self, program: &[&str], last: &str) -> Child {
        let mut command = Command::new("xargs");
        let mut child = command.args(program).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        fs::write(self.vm.join("cgroup.procs"), child.id().to_string()).unwrap();
        child.stdin.take().unwrap().write_all(last.as_bytes()).unwrap();
        child
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.vm.join(file)).unwrap()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _killed = fs::write(self.vm.join("cgroup.kill"), "1");
        let until = Instant::now() + SOON;
        while fs::remove_dir(&self.vm).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _removed = fs::remove_dir(&self.owner);
    }
}

fn figure(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

#[test]
fn limits_hold_in_a_real_hierarchy() {
    let Some(groups) = Groups::make("limits_hold_in_a_real_hierarchy") else { return };
    let needs = Needs { vcpus: 1, mem_mib: 32, overhead_mib: 8, io: None };
    for _ in 0..2 {
        assert_eq!(apply(&groups.vm, &limits(&needs)), Vec::<String>::new());
    }
    assert_eq!(groups.read("cpu.max").trim(), "150000 100000");
    assert_eq!(groups.read("pids.max").trim(), "129");
    assert_eq!(figure(&groups.read("memory.max"), ""), (32 << 20) + (8 << 20) + (32 << 20) / 128);
    // The group still takes processes, as it passes nothing on itself. `dd` has as much memory as it reads at once.
    let within = groups.start(&["dd", "status=none", "of=/dev/null", "count=1", "bs=8M"], "if=/dev/zero").wait().unwrap();
    assert!(within.success(), "{within:?}");
    assert_eq!(figure(&groups.read("memory.events"), "oom_kill "), 0);
    if groups.vm.join("memory.swap.max").exists() {
        fs::write(groups.vm.join("memory.swap.max"), "0").unwrap();
    }
    let beyond = groups.start(&["dd", "status=none", "of=/dev/null", "count=1", "bs=200M"], "if=/dev/zero").wait().unwrap();
    assert_eq!(beyond.code(), Some(ENDED_BY_SIGNAL), "{beyond:?}");
    assert!(figure(&groups.read("memory.events"), "oom_kill ") > 0);
}

#[test]
fn processor_time_is_bounded() {
    let test = "processor_time_is_bounded";
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return skipped(test, "needs two processors: one is less than the bound");
    }
    let Some(groups) = Groups::make(test) else { return };
    assert_eq!(apply(&groups.vm, &limits(&Needs { vcpus: 1, mem_mib: 64, overhead_mib: 8, io: None })), Vec::<String>::new());
    let mut busy: Vec<Child> = (0..4).map(|_| groups.start(&["yes"], "")).collect();
    let until = Instant::now() + SOON;
    let throttled = || figure(&groups.read("cpu.stat"), "nr_throttled ");
    while throttled() == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let throttled = throttled();
    fs::write(groups.vm.join("cgroup.kill"), "1").unwrap();
    for child in &mut busy {
        child.wait().unwrap();
    }
    assert!(throttled > 0, "four busy processes were never held back");
}

#[test]
fn a_group_that_holds_processes_passes_nothing_on_and_says_so() {
    let Some(groups) = Groups::make("a_group_that_holds_processes_passes_nothing_on_and_says_so") else { return };
    let mut sitting = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    fs::write(groups.owner.join("cgroup.procs"), sitting.id().to_string()).unwrap();
    let told = apply(&groups.vm, &[("memory.max", "1000000".into())]);
    drop(sitting.stdin.take());
    sitting.wait().unwrap();
    assert!(matches!(&told[..], [only] if only.contains("in which processes sit")), "{told:?}");
}

/// A disk of the host's own: a file, with a file system on it.
struct Disk(tempfile::TempDir);

impl Disk {
    fn make(test: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let image = disk.0.path().join("image");
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let ran = |program: &str, words: &[&str]| {
            Command::new(program).args(words).stdout(Stdio::null()).status().is_ok_and(|ended| ended.success())
        };
        let (image, at) = (image.to_string_lossy().into_owned(), disk.at());
        fs::create_dir(&at).unwrap();
        if ran("mkfs.ext4", &["-q", "-F", &image]) && ran("mount", &["-o", "loop", &image, &at.to_string_lossy()]) {
            return Some(disk);
        }
        skipped(test, "needs a loop device and mkfs.ext4");
        None
    }

    fn at(&self) -> PathBuf {
        self.0.path().join("at")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg(self.at()).stderr(Stdio::null()).status();
    }
}

/// 6 MiB past the page cache at twice 1 MiB a second: nothing that keeps the bound is faster than 2 s. That nothing else is as slow is seen without it.
#[test]
fn transfers_are_bounded_around_the_limits_of_the_disks() {
    let test = "transfers_are_bounded_around_the_limits_of_the_disks";
    let Some(groups) = Groups::make(test) else { return };
    let controllers = fs::read_to_string(groups.owner.join("../cgroup.controllers")).unwrap();
    if !controllers.split_whitespace().any(|one| one == "io") {
        return skipped(test, "needs the cgroup controller io");
    }
    let Some(disk) = Disk::make(test) else { return };
    let limited = RateLimits { disk_mib_per_s: Some(1), ..RateLimits::default() };
    let none = RateLimits::default();
    let writes = || {
        let from = Instant::now();
        let to = format!("of={}", disk.at().join("file").display());
        let ended = groups.start(&["dd", "status=none", "if=/dev/zero", "oflag=direct", "bs=1M", "count=6"], &to).wait().unwrap();
        assert!(ended.success(), "{ended:?}");
        from.elapsed()
    };
    transfers::set(&none, 1, &disk.at(), &groups.vm);
    assert!(!groups.vm.join("io.max").exists(), "nothing is made of what nobody bounds");
    let free = writes();
    transfers::set(&limited, 1, &disk.at(), &groups.vm);
    assert!(groups.read("io.max").contains("rbps=2097152 wbps=2097152"), "{}", groups.read("io.max"));
    let bound = writes();
    eprintln!("6 MiB in {free:?}, bound in {bound:?}");
    assert!(bound > Duration::from_secs(2) && bound > free, "{free:?}, bound {bound:?}");
    transfers::set(&none, 1, &disk.at(), &groups.vm);
    assert_eq!(groups.read("io.max").trim(), "", "it is taken off");
}
