//! Upstream's real jailer and Firecracker, by the arguments that hearth gives them, looked at by hearth's own eyes. Needs root and
//! HEARTH_FIRECRACKER (the program; its jailer beside it, or HEARTH_JAILER), and for a guest's threads /dev/kvm and HEARTH_IMAGES (folder with
//! `debian-kernel/vmlinux`); without them each test says SKIPPED. No guest need really run: threads and filters are there before its first
//! instruction.

#![allow(clippy::unwrap_used)]

use domain::VmId;
use host::vmm::{
    confinement::{Confinement, Wanted, look},
    firecracker::{
        jail::{DEFAULT_UIDS, File, Jail, Jails, Options},
        programs,
    },
};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(20);

/// Said aloud, and counted by the run that names a log for it: libtest would call it passed.
fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

struct Lab {
    data: tempfile::TempDir,
    jails: Jails,
    vm: VmId,
}

impl Lab {
    async fn open(test: &str) -> Option<Self> {
        let Some(firecracker) = std::env::var_os("HEARTH_FIRECRACKER").map(PathBuf::from) else {
            skipped(test, "needs HEARTH_FIRECRACKER");
            return None;
        };
        if !nix::unistd::geteuid().is_root() {
            skipped(test, "needs root");
            return None;
        }
        let programs = programs::look(Some(&firecracker), Some(None)).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let options = Options {
            vms: data.path().join("vms"),
            firecracker: programs.firecracker,
            owner: "t1".into(),
            jailer: programs.jailer.unwrap(),
            uids: DEFAULT_UIDS,
        };
        let jails = Jails::open(options).unwrap();
        let vm = VmId::from_bits(rand::random());
        fs::create_dir_all(data.path().join("vms").join(vm.to_string())).unwrap();
        Some(Self { data, jails, vm })
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join("vms").join(self.vm.to_string())
    }

    /// The VM's disk: 64 MiB of nothing.
    fn disk(&self) -> PathBuf {
        let path = self.folder().join("disk.ext4");
        fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
        path
    }
}

/// A jailed process in a pid and a network namespace of its own and with no way to more privileges; ended when dropped.
struct Jailed {
    outer: Child,
    pid: u32,
    root: PathBuf,
}

impl Jailed {
    fn start(jail: &Jail, root: &Path) -> Self {
        let mut outer = Command::new("unshare");
        outer.args(["--net", "--pid", "--fork", "--kill-child", "--", "setpriv", "--no-new-privs", "--"]).arg(jail.jailer());
        outer.args(jail.arguments(["--api-sock", "api.sock"])).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let outer = outer.spawn().unwrap();
        let mut jailed = Self { outer, pid: 0, root: root.into() };
        jailed.await_api();
        jailed.find_child();
        // The socket is there before the thread behind it has its filter; an answer comes after.
        assert_eq!(jailed.call("GET", "/", ""), 200);
        jailed
    }

    fn await_api(&mut self) {
        let until = Instant::now() + SOON;
        while self.connect().is_none() {
            if self.outer.try_wait().unwrap().is_some() {
                let mut words = String::new();
                self.outer.stderr.take().unwrap().read_to_string(&mut words).unwrap();
                panic!("the jailer or Firecracker ended: {words}");
            }
            self.find_child();
            assert!(Instant::now() < until, "no API socket within {SOON:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// 0 as long as there is none.
    fn find_child(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.outer.id());
        self.pid = fs::read_to_string(children).unwrap().trim().parse().unwrap_or(0);
    }

    /// The socket's own path is longer than a Unix socket's may be.
    fn connect(&self) -> Option<UnixStream> {
        let folder = fs::File::open(&self.root).ok()?;
        UnixStream::connect(format!("/proc/self/fd/{}/api.sock", folder.as_raw_fd())).ok()
    }

    /// The status of the answer. Bodies: JSON.
    fn call(&self, method: &str, path: &str, body: &str) -> u16 {
        let mut stream = self.connect().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        let status = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
        if status >= 300 {
            let mut rest = vec![0; 2000];
            let read = stream.read(&mut rest).unwrap();
            eprintln!("{method} {path}: {status} {}", String::from_utf8_lossy(&rest[..read]));
        }
        status
    }

    fn look(&self) -> Confinement {
        look(self.pid).unwrap()
    }
}

impl Drop for Jailed {
    /// By its pid: the change of its uid has taken from `unshare` the right to end it by its own death.
    fn drop(&mut self) {
        if self.pid != 0 {
            let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid as i32), nix::sys::signal::Signal::SIGKILL);
        } else {
            let _gone = self.outer.kill();
        }
        // `unshare` waits for its child.
        let _status = self.outer.wait();
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// From the first instruction on all is as it should be, but for the main thread's filter: that one comes with the guest.
#[tokio::test]
async fn a_jailed_process_is_confined_before_it_has_a_guest_and_leaves_nothing() {
    let Some(lab) = Lab::open("a_jailed_process_is_confined_before_it_has_a_guest_and_leaves_nothing").await else { return };
    let disk = lab.disk();
    let jail = lab.jails.jail(lab.vm).unwrap();
    let root = jail.prepare(&[File::Own { source: disk.clone(), name: "disk".into() }]).unwrap();
    let before = fs::read_to_string("/proc/self/cgroup").unwrap();
    let jailed = Jailed::start(&jail, &root);
    assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", jailed.pid)).unwrap(), before, "the jailer leaves the cgroup alone");
    let seen = jailed.look();
    assert_eq!((seen.uid(), seen.gid(), seen.capabilities(), seen.no_new_privs()), (Some(jail.uid()), Some(jail.uid()), 0, true));
    let told = seen.problems(&Wanted::jailed(jail.uid(), &root));
    let only_main =
        |told: &[String]| matches!(told, [only] if only.contains("1 of 2 threads have no seccomp filter: firecracker"));
    assert!(only_main(&told), "{told:?}: {seen:?}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", jailed.pid)).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max open files") && line.contains("2048")), "{limits}");
    let made = names(&root);
    for name in ["api.sock", "dev", "disk", "firecracker", "firecracker.pid", "run"] {
        assert!(made.contains(name), "{name}: {made:?}");
    }
    assert_eq!(fs::read_to_string(root.join("firecracker.pid")).unwrap(), "1", "its namespace's first process");
    drop(jailed);
    jail.clean().unwrap();
    assert_eq!(names(&lab.folder()), ["disk.ext4", "uid"].map(str::to_owned).into());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&lab.vm.to_string()), "{mounts}");
}

/// All threads of a VM whose vCPUs were started. The answer to a question after that one is given by a filtered main thread.
#[tokio::test]
async fn every_thread_of_a_running_vm_is_confined() {
    let test = "every_thread_of_a_running_vm_is_confined";
    let Some(lab) = Lab::open(test).await else { return };
    let kernel = std::env::var_os("HEARTH_IMAGES").map(|folder| PathBuf::from(folder).join("debian-kernel/vmlinux"));
    let Some(kernel) = kernel.filter(|kernel| kernel.exists()) else {
        return skipped(test, "needs HEARTH_IMAGES");
    };
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return skipped(test, "needs /dev/kvm");
    }
    // A kernel's second name needs its file system; the images may be on another.
    let own = lab.data.path().join("vmlinux");
    fs::copy(kernel, &own).unwrap();
    fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let disk = lab.disk();
    let jail = lab.jails.jail(lab.vm).unwrap();
    let kernel = File::Shared { source: own, name: "kernel".into() };
    let root = jail.prepare(&[kernel, File::Own { source: disk.clone(), name: "disk".into() }]).unwrap();
    let jailed = Jailed::start(&jail, &root);
    let drive = r#"{"drive_id":"root","path_on_host":"disk","is_root_device":true,"is_read_only":false}"#;
    for (path, body) in [
        ("/machine-config", r#"{"vcpu_count":2,"mem_size_mib":128}"#),
        ("/boot-source", r#"{"kernel_image_path":"kernel","boot_args":"console=ttyS0 panic=-1 reboot=k"}"#),
        ("/drives/root", drive),
        ("/vsock", r#"{"guest_cid":3,"uds_path":"vsock"}"#),
        ("/actions", r#"{"action_type":"InstanceStart"}"#),
    ] {
        assert_eq!(jailed.call("PUT", path, body), 204, "{path}");
    }
    assert_eq!(jailed.call("GET", "/", ""), 200);
    let seen = jailed.look();
    assert!(seen.threads.len() >= 4, "main, API and two vCPUs: {seen:?}");
    let told = seen.problems(&Wanted::jailed(jail.uid(), &root));
    assert_eq!(told, Vec::<String>::new(), "{seen:?}");
    drop(jailed);
    jail.clean().unwrap();
    assert_eq!(fs::metadata(&disk).unwrap().uid(), jail.uid(), "the disk stays, and stays the VM's");
    assert_eq!(names(&lab.folder()), ["disk.ext4", "uid"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_second_start_in_the_same_folder_finds_a_fresh_jail() {
    let Some(lab) = Lab::open("a_second_start_in_the_same_folder_finds_a_fresh_jail").await else { return };
    let jail = lab.jails.jail(lab.vm).unwrap();
    for _ in 0..2 {
        let root = jail.prepare(&[]).unwrap();
        assert_eq!(names(&root), BTreeSet::new());
        drop(Jailed::start(&jail, &root));
        assert!(root.join("firecracker.pid").exists(), "a jailer that finds this file refuses to start");
    }
    assert_eq!(lab.jails.jail(lab.vm).unwrap().uid(), jail.uid());
    lab.jails.place(lab.vm).clean().unwrap();
    assert_eq!(names(&lab.folder()), ["uid".to_owned()].into());
}
