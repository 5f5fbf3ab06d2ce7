//! What is known of a machine from outside its guest: by its VMM's own counters, and by what the kernel tells of its process. What a driver can't
//! know is absent, never a zero; what it should know and could not learn this time is named in `missing`.

/// One look. Counters only grow while a process lives, unless [`Outside::since_ms`] moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    pub process: Option<ProcessUse>,
    /// Since when the VMM's counters below count, milliseconds since the epoch: the process's start, or later where some were lost.
    pub since_ms: Option<u64>,
    /// Ordered by name.
    pub drives: Vec<DriveUse>,
    /// Ordered by name.
    pub interfaces: Vec<InterfaceUse>,
    /// What the guest has given back to the host, bytes.
    pub balloon_bytes: Option<u64>,
    pub safety: Option<Safety>,
    /// One sentence for each part that could not be learned.
    pub missing: Vec<String>,
}

/// What the process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessUse {
    pub rss_bytes: u64,
    pub cpu_ms: u64,
    pub threads: u64,
    /// How many processes of its cgroup the kernel ended for want of memory; absent without a cgroup that counts memory.
    pub oom_kills: Option<u64>,
}

/// What the guest asked of a drive and got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriveUse {
    /// As the VMM calls it: `root` is the VM's disk.
    pub name: String,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub reads: u64,
    pub writes: u64,
    pub failed: Option<u64>,
    /// How often the limit of its rate held requests back.
    pub throttled: Option<u64>,
}

/// What went through a network interface, as the guest sees it: received is what came to the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceUse {
    pub name: String,
    pub received_bytes: u64,
    pub received_packets: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
    pub dropped: Option<Dropped>,
    /// How often the limits of its rate held packets back, both ways.
    pub throttled: Option<u64>,
    /// Frames of the guest that the VMM did not pass on: with another's hardware address, or malformed.
    pub refused: Option<u64>,
}

/// Packets that the host's kernel dropped at the interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    pub received: u64,
    pub sent: u64,
}

/// What tells of an attack, or of a VMM at its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Safety {
    /// System calls that the filter refused; the process ends at the first.
    pub seccomp_faults: u64,
    /// Requests on its API that it refused.
    pub api_failures: u64,
    pub exits: VcpuExits,
}

/// How often the vCPUs came out of the guest for the VMM to do something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VcpuExits {
    pub io_in: u64,
    pub io_out: u64,
    pub mmio_read: u64,
    pub mmio_write: u64,
    pub failures: u64,
}
