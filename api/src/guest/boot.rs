//! What host and guest agree upon beside the protocol: where the agent is found, and what the guest's console says at the end. Owns the
//! names only; the words of the kernel command line are listed in `host::guest`.

/// The vsock port that the agent listens on, with any CID of the guest's. The host (CID 2) connects; the newest connection is the one that
/// counts, and the agent hangs up on whoever is not the host. Below 1024, so that in the guest only root can take it while the agent is away.
pub const VSOCK_PORT: u32 = 1023;
/// The greatest port of a vsock; the one behind it stands for any (linux/vm_sockets.h, `VMADDR_PORT_ANY`).
pub const VSOCK_PORT_MAX: u32 = u32::MAX - 1;

/// What the agent writes to the kernel's log, as a line of its own and at a level that reaches every console, before it restarts a machine
/// that was to be powered off (`hearth.poweroff=reboot`). The kernel puts its time in front, and its own last line may follow.
pub const POWER_OFF_LINE: &str = "hearth: power off";
