//! The trait that every VMM driver implements, and the plans that it is given.
//!
//! A VMM process belongs to the machine, not to hearth: own session, own cgroup, recorded before its first instruction. Every call is
//! idempotent and may be repeated after a crash. Cancel: a dropped call may have taken effect; the caller finds out by `inspect`.

pub mod confinement;
pub mod disks;
pub mod firecracker;
pub mod limits;
pub mod lines;
pub mod outside;
pub mod qemu;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod shared;
pub mod simulated;
pub mod snapshot;

pub(crate) use shared::{cmdline::mac_text, layout::storage_error};

pub use snapshot::SnapshotKind;

use crate::guest::{Connection, GuestFault, GuestSession, Port};
use async_trait::async_trait;
use confinement::Confinement;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{CloudInit, CpuTemplate, DiskSizes, Drives, Exit, Inspection, Machine, RateLimits},
};
use lines::LinesWanted;
use outside::Outside;
use std::{path::Path, path::PathBuf, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};

/// The disks of a VM.
#[derive(Debug, Clone)]
pub struct DiskPlan {
    pub vm: VmId,
    /// The read-only base in the image store, a raw ext4 file.
    pub base: PathBuf,
    /// Size of the VM's disk; absent: the base's. Never smaller than the base.
    pub size_bytes: Option<u64>,
    /// Beside it, in the order in which the guest has them, behind the root and the seed.
    pub drives: Drives,
}

/// All that a launch needs.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    pub vm: VmId,
    pub hostname: String,
    pub vcpus: u32,
    /// What it begins with.
    pub mem_mib: u32,
    /// How much it can be given while it runs, by [`Tuning::mem_mib`], for who has `Capabilities::memory_hotplug`. Absent: no more.
    pub mem_max_mib: Option<u32>,
    pub kernel: PathBuf,
    /// The kernel image's own initramfs (modules). The driver appends the agent's.
    pub initrd: Option<PathBuf>,
    pub disk: DiskPlan,
    /// In the order in which the guest has them. The first is the one by which the guest reaches what is elsewhere: its default route, its name
    /// servers and its metadata service are there.
    pub nics: Vec<NicPlan>,
    /// Appended to the driver's own kernel command line.
    pub cmdline: Option<String>,
    /// Absent: no seed, and no drive for it.
    pub cloud_init: Option<Box<CloudInit>>,
    /// A JSON object, as text, for who has `Capabilities::metadata`.
    pub metadata: Option<Box<str>>,
    pub tuning: Tuning,
    pub cpu_template: Option<CpuTemplate>,
    /// Which pages the guest writes is kept, without which there are no differential snapshots; each page costs a fault then, once a snapshot.
    pub dirty_tracking: bool,
}

/// What of a machine can be changed while it runs, too. By default everything that there is, and disks as large as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuning {
    pub rate_limits: RateLimits,
    /// What the guest is asked to give back; it does so in its own time, as far as it can.
    pub balloon_mib: u32,
    /// In all, of a machine that was made with a `mem_max_mib`, between what it began with and that; its guest takes and gives in its own time.
    pub mem_mib: Option<u32>,
    pub disks: DiskSizes,
}

#[derive(Debug, Clone)]
pub struct NicPlan {
    /// Of one hearth each another.
    pub tap: String,
    pub mac: [u8; 6],
    /// `hearth.ip=` and the other words for the agent; see `guest`.
    pub address: std::net::Ipv4Addr,
    pub prefix: u8,
    /// Of the first interface; those of others are not used.
    pub gateway: std::net::Ipv4Addr,
    /// Likewise.
    pub dns: Vec<std::net::Ipv4Addr>,
}

/// What the VMM process itself uses on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub rss_bytes: u64,
    pub cpu_ms: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    #[error("{program} is not installed: {hint}")]
    ProgramMissing { program: String, hint: String },
    #[error("the VM's folder {path} can't be made or written")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("no space left for {path}: free some, or give the VM a smaller disk")]
    DiskFull { path: PathBuf },
    #[error("the base image {path} can't be read")]
    Base {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a disk of {asked} bytes is smaller than its image of {base}")]
    DiskTooSmall { asked: u64, base: u64 },
    /// Nothing of it was opened but its first bytes, by hearth itself.
    #[error("the VM's disk {path} is not as hearth made it: {detail}; put the disk back from a backup, or delete the VM")]
    DiskAltered { path: PathBuf, detail: String },
    /// It was made once; a new one in its place would be empty.
    #[error("the file {path} of the VM's drive \"{name}\" is gone: put it back from a backup, or remove the drive from the VM")]
    DriveLost { name: String, path: PathBuf },
    #[error("the VMM can't be started: {detail}")]
    Spawn { detail: String },
    #[error("the VMM ended while it was started: {detail}")]
    EndedAtStart { detail: String },
    #[error("the VMM did not answer {call} within {after_ms} ms")]
    Timeout { call: &'static str, after_ms: u64 },
    #[error("the VMM refused {call}: {detail}")]
    Refused { call: &'static str, detail: String },
    #[error("the VMM's process is gone")]
    Gone,
    /// Says nothing about the VMM, which may run: ask again later.
    #[error("hearth is short of what it needs ({detail}): raise its limit of open files (ulimit -n 1024), or give it memory")]
    Short { detail: String },
    #[error("this driver has no {what}")]
    Unsupported { what: &'static str },
    #[error("the network interface can't be used: {detail}")]
    Network { detail: String },
    #[error("{what} can't be cleaned up: {detail}")]
    Clean { what: String, detail: String },
}

/// The serial console: what was printed so far comes first, then what follows; what is written goes to the guest where the driver can.
pub trait Console: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Console for T {}

/// Who is told about a machine by the driver itself; see [`Vmm::follow`]. Called from wherever the news arises, so it must not block.
pub trait Follower: Send + Sync + 'static {
    /// The guest's agent said hello on a new session, its clock is set and its generator stirred; an earlier session is over.
    fn guest_up(&self, session: Arc<dyn GuestSession>);
    /// The session of the last `guest_up` ended.
    fn guest_down(&self);
    /// The process is gone. Told once, and the last that is told.
    fn exited(&self, exit: Exit);
}

#[async_trait]
pub trait Vmm: Send + Sync + 'static {
    fn facts(&self) -> VmmFacts;
    /// What hearth offers with this driver today: the API shows it, and `domain` refuses by it.
    fn capabilities(&self) -> Capabilities;
    /// What of this driver does not work as it should on this machine, one sentence each; VMs run all the same.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Makes the VM's folder, its root disk (overlay) and its data drives. A disk that is there already is left as it is; `launch` enlarges it.
    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError>;

    /// Enlarges the disk if the plan's is larger, makes the data drives what the plan says of them, makes the process and holds it before its first
    /// instruction; nothing of the VMM has run when this returns. What an earlier launch of this VM left (process, sockets, cgroup) is ended first. On
    /// an error nothing is left. If hearth dies now, the held process ends.
    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError>;

    /// Lets the held process run, and returns when the VMM answers and its vCPUs run.
    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError>;

    /// What is true of that process, by pid, start time and executable. Adopts it: opens its control socket again if it runs.
    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError>;

    /// Resolves when the process is gone, at most a second late, with the reason as well as it is known.
    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit;

    /// Tells `follower` of the machine's end and of its guest from now on, in place of whoever followed the VM before. For drivers that can do
    /// so without a task a machine. False: this one can't, nobody will be told, and `exited` and `guest` are to be awaited instead.
    fn follow(&self, _vm: VmId, _machine: &Machine, _follower: Arc<dyn Follower>) -> bool {
        false
    }

    /// Resolves when a look finds that the VMM holds the vCPUs because the host's disk is full ([`Inspection::DiskFull`]), at most ten seconds
    /// late; asked again, it resolves again as long as that is so. Never where the VMM holds nothing, as most: the guest is told of an error.
    async fn disk_full(&self, _vm: VmId, _machine: &Machine) {
        std::future::pending().await
    }

    /// The vCPUs stand still until the machine is resumed. Errors besides those of every call: `Refused` of a machine whose VMM would lose its
    /// guest by it.
    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError>;
    /// As [`Vmm::pause`], of a machine that a snapshot is taken of before it goes on: some VMMs bear that which bear no other pause. One that goes
    /// on without has what `pause` is refused for.
    async fn pause_for_snapshot(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.pause(vm, machine).await
    }
    /// What stands goes on, whatever it was paused for: that `pause` would be refused of it is no reason to refuse this.
    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError>;

    /// Makes limits, balloon and disks of a machine that runs or is paused as `tuning` says; what is there already stays. A guest that writes to a disk
    /// while it grows is not disturbed. What stands here is for a driver that offers none of it. Errors besides those of every call: `Unsupported`,
    /// `DiskFull`, `DiskAltered`; on any error part of it may hold.
    async fn tune(&self, _vm: VmId, _machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        if *tuning == Tuning::default() {
            Ok(())
        } else {
            Err(VmmError::Unsupported { what: "limits, balloon or growing disks" })
        }
    }

    /// Has the metadata service of a machine that runs or is paused say what the plan says now: its name, metadata, and the VM's credentials; its
    /// addresses are those of its start. What stands here is for a driver that has no such service.
    ///
    /// A machine without the service, as one without a network, of which no metadata are asked either, is left as it is. Errors besides those of
    /// every call: `Unsupported`, and `Refused` of a machine without it of which some are; what was served until then still is.
    async fn serve_metadata(&self, _machine: &Machine, plan: &MachinePlan) -> Result<(), VmmError> {
        if plan.metadata.is_none() { Ok(()) } else { Err(VmmError::Unsupported { what: "metadata service" }) }
    }

    /// Writes what a paused machine is at this moment into `into`, a folder that must not exist yet: it is there whole and on the disk, or not at
    /// all. The machine stays paused; once it goes on, its sessions with the agent are over, which each finds when it is used. A differential
    /// snapshot is of no use but laid upon the one before it ([`snapshot::lay_upon`]), and only a machine whose plan had `dirty_tracking` has one.
    ///
    /// A machine with data drives has none: `Refused`, for they would not be in it.
    ///
    /// Cancel: a folder that is not there by then never will be; what was written so far is removed by the next snapshot, or with the run.
    async fn snapshot(&self, _vm: VmId, _machine: &Machine, _into: &Path, _kind: SnapshotKind) -> Result<(), VmmError> {
        Err(VmmError::Unsupported { what: "snapshots" })
    }

    /// As [`Vmm::launch`], of a machine that goes on from the full snapshot in `from` when it is released. The root disk of that moment takes the
    /// place of the VM's own once the machine was loaded and before it goes on; whatever fails until then, the VM has the disk that it had. What
    /// the plan says of its devices does not count: they come with the snapshot, and only its metadata are the plan's. `from` must stay for as
    /// long as the machine lives.
    ///
    /// Errors besides those of a launch, before anything of the VM is touched: the snapshot is not whole, another VM's, or of a machine of another
    /// size or with other interfaces; the VM has data drives.
    async fn restore(&self, _plan: &MachinePlan, _from: &Path, _launch: Attempt) -> Result<Machine, VmmError> {
        Err(VmmError::Unsupported { what: "snapshots" })
    }

    /// Ends the process, by force after a short wait, and returns when it is gone. A process that is gone already is no error.
    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError>;

    /// Gives back what a run used: sockets, cgroup, remains of processes, files that were being made. The disk stays. No record of the machine is
    /// needed.
    async fn clean(&self, vm: VmId) -> Result<(), VmmError>;

    /// Removes the VM's folder with its disk.
    async fn remove(&self, vm: VmId) -> Result<(), VmmError>;

    /// Connects to the guest's agent and settles hello. One session at a time; a new one ends the older.
    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError>;

    /// Connects to a port of the guest's vsock, for whoever has `Capabilities::vsock`. The agent's own port is nobody else's. Errors: `NobodyListens`
    /// (also in a guest without a driver for it), `Timeout`, `Unreachable`.
    async fn vsock(&self, _vm: VmId, _machine: &Machine, port: u32, _deadline: Duration) -> Result<Connection, GuestFault> {
        Err(GuestFault::Unreachable { port: Port::Vsock(port), detail: "this driver has no vsock".to_owned() })
    }

    /// Attaches to the serial console. `history_bytes`: how much of what was printed comes first (at most what is kept).
    async fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError>;

    /// The serial console's log as kept: its last `bytes`; empty when there is none.
    async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError>;

    /// As [`Vmm::console_log`], of whole lines, with when they were first seen or since a moment.
    async fn lines(&self, _vm: VmId, _wanted: &LinesWanted) -> Result<Vec<u8>, VmmError> {
        Err(VmmError::Unsupported { what: "times of what is printed" })
    }

    /// As [`Vmm::console`], likewise.
    async fn follow_lines(&self, _vm: VmId, _wanted: &LinesWanted) -> Result<Box<dyn Console>, VmmError> {
        Err(VmmError::Unsupported { what: "times of what is printed" })
    }

    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError>;

    /// What the VMM and the kernel tell of a machine that lives, from outside its guest. What could not be learned, as from a VMM that does not
    /// answer, is named in it and waited for at most two seconds. Errors: `Gone`; hearth is short of what it needs.
    async fn outside(&self, _vm: VmId, _machine: &Machine) -> Result<Outside, VmmError> {
        Err(VmmError::Unsupported { what: "counters of its own" })
    }

    /// How the process is confined, at this moment; absent where there is no process.
    async fn confinement(&self, _vm: VmId, _machine: &Machine) -> Result<Option<Confinement>, VmmError> {
        Ok(None)
    }

    /// Removes what belongs to this hearth (its data directory) but to no VM in `known`: processes, cgroups, folders. Says what was removed.
    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError>;

    /// Gives back what the driver itself holds on the machine, once no VM runs any more: `hearth down`. Most hold nothing.
    async fn tear_down(&self) -> Result<(), VmmError> {
        Ok(())
    }
}
