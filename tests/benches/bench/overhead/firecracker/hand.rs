//! The same Firecracker without hearth: what hearth told it as its configuration file, and a copy of the VM's disk. Alone, with an API that nobody
//! asks; in a jail that its jailer makes; and in such a jail with the limits that hearth sets. What hearth's have beside that: a log, a file of
//! metrics, a pipe as keyboard, and namespaces of processes and network.

use super::super::{super::http::text, Ending, HELLO_WITHIN};
use super::{MEM_MIB, beside_guest_kib};
use anyhow::{Context, Result};
use host::{
    guest::Guest,
    vmm::{
        firecracker::vsock,
        limits::{self, FIRECRACKER_MIB, Needs},
    },
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Between two tries at the agent.
const AGAIN: Duration = Duration::from_millis(2);
/// Nobody else's: far above what hearth gives its VMs.
const UID: u32 = 1_900_090_000;
const ID: &str = "bench";
const CONFIG: &str = "config.json";
const DISK: &str = "disk.raw";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Bare,
    Jailed,
    /// Jailed, in a cgroup of its own with hearth's limits.
    Limited,
}

pub struct Boot {
    /// From the start of the process to the agent's hello.
    pub took: Duration,
    /// The process's memory beside the guest's.
    pub kib: f64,
    /// How long the limit of processor time kept a thread of it from running, where it has one.
    pub held_back: Duration,
}

pub struct Hand {
    program: PathBuf,
    jailer: PathBuf,
    folder: PathBuf,
    /// What lies in the folder beside configuration and disk.
    files: Vec<String>,
}

impl Hand {
    /// Takes the configuration of the running machine and the files that it names.
    pub fn of(program: &Path, pid: u32, vm: &Path, folder: &Path) -> Result<Hand> {
        fs::create_dir(folder)?;
        let told: Value = serde_json::from_slice(&fs::read(vm.join("firecracker.json"))?)?;
        let mut files = Vec::new();
        for pointer in ["/boot/kernel_image_path", "/boot/initrd_path"] {
            let name = text(&told, pointer)?;
            fs::copy(format!("/proc/{pid}/root/{name}"), folder.join(&name)).with_context(|| format!("{pointer}: {name}"))?;
            files.push(name);
        }
        let config = json!({
            "machine-config": told["machine"],
            "boot-source": told["boot"],
            "drives": [told["root"]],
            "vsock": told["vsock"],
            "balloon": told["balloon"],
        });
        fs::write(folder.join(CONFIG), config.to_string())?;
        let beside = || program.with_file_name("jailer");
        let jailer = std::env::var_os("HEARTH_JAILER").map_or_else(beside, PathBuf::from);
        Ok(Hand { program: program.to_owned(), jailer, folder: folder.to_owned(), files })
    }

    /// `vm`: the folder with the disk to copy first.
    pub async fn boot(&self, way: Way, vm: &Path) -> Result<Boot> {
        fs::copy(vm.join(DISK), self.folder.join(DISK))?;
        let room = if way == Way::Bare { self.folder.clone() } else { self.jail()? };
        let socket = room.join("v.sock");
        let _ = fs::remove_file(&socket);
        // Before the process: it goes away after it.
        let group = if way == Way::Limited { Some(Group::limited()?) } else { None };
        let log = fs::File::create(self.folder.join("log"))?;
        let mut command = self.command(way);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let process = Ending(command.spawn()?);
        if let Some(group) = &group {
            // At its first instructions: it has none of the guest's memory yet.
            fs::write(group.0.join("cgroup.procs"), process.0.id().to_string())?;
        }
        let stream = loop {
            match vsock::connect(&socket, api::guest::VSOCK_PORT, HELLO_WITHIN).await {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < HELLO_WITHIN => tokio::time::sleep(AGAIN).await,
                Err(error) => {
                    let said = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    return Err(error).with_context(|| format!("by hand, {way:?}: {said}"));
                }
            }
        };
        let guest = Guest::connect(stream, HELLO_WITHIN).await?;
        let took = began.elapsed();
        let kib = beside_guest_kib(process.0.id())?;
        drop(guest);
        drop(process);
        let mut held_back = Duration::ZERO;
        if let Some(group) = &group {
            let told = fs::read_to_string(group.0.join("cpu.stat"))?;
            let held_us = told.lines().find_map(|line| line.strip_prefix("throttled_usec ")).context("no throttled_usec")?;
            held_back = Duration::from_micros(held_us.parse()?);
        }
        Ok(Boot { took, kib, held_back })
    }

    fn command(&self, way: Way) -> Command {
        if way == Way::Bare {
            let mut command = Command::new(&self.program);
            command.args(["--no-api", "--config-file", CONFIG]);
            return command;
        }
        let uid = UID.to_string();
        let mut command = Command::new(&self.jailer);
        command.args(["--id", ID, "--uid", &uid, "--gid", &uid, "--resource-limit", "no-file=2048", "--exec-file"]);
        command.arg(&self.program).arg("--chroot-base-dir").arg(self.folder.join("jail"));
        command.args(["--", "--api-sock", "api.sock", "--config-file", CONFIG]);
        command
    }

    /// Made anew: the jailer takes no folder that it was in before.
    fn jail(&self) -> Result<PathBuf> {
        let jail = self.folder.join("jail");
        let _ = fs::remove_dir_all(&jail);
        let program = self.program.file_name().context("a program without a name")?;
        let room = jail.join(program).join(ID).join("root");
        fs::create_dir_all(&room)?;
        for name in self.files.iter().map(String::as_str).chain([CONFIG, DISK]) {
            fs::hard_link(self.folder.join(name), room.join(name))?;
            chown(room.join(name), Some(UID), Some(UID))?;
        }
        Ok(room)
    }
}

/// A cgroup with the limits that hearth gives such a VM, within one of this run's own. Both go away with it, however the boot ended.
struct Group(PathBuf);

impl Group {
    fn limited() -> Result<Group> {
        let of_run = format!("/sys/fs/cgroup/hearth-bench-{}", std::process::id());
        let group = Group(Path::new(&of_run).join(ID));
        fs::create_dir_all(&group.0).context("no cgroup v2 at /sys/fs/cgroup")?;
        let needs = Needs { vcpus: 1, mem_mib: MEM_MIB, overhead_mib: FIRECRACKER_MIB, io: None };
        let problems = limits::apply(&group.0, &limits::limits(&needs));
        anyhow::ensure!(problems.is_empty(), "{problems:?}");
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Refused where something lives in them, which is then told by `ls` and by nobody else: a benchmark has its own failure to tell.
        for group in self.0.ancestors().take(2) {
            let _ = fs::remove_dir(group);
        }
    }
}
