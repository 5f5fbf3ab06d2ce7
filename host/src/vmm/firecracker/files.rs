//! The names of the files that Firecracker's driver keeps in a VM's folder, beside those of every driver, and in the room of its process.

/// The root disk, a raw file.
pub const DISK: &str = "disk.raw";
/// The root disk of a snapshot, until its machine was loaded: see `restore`.
pub const RESTORED_DISK: &str = "disk.restored";
/// What is typed on the serial console, a named pipe.
pub const KEYBOARD: &str = "keyboard";
/// What Firecracker itself said in the newest launch.
pub const VMM_LOG: &str = "firecracker.log";
/// What Firecracker counted in the newest launch, and the sum of what was read of it.
pub const METRICS: &str = "firecracker.metrics";
pub const TALLY: &str = "firecracker.tally";
/// What it said before it had a log, and what the jailer said.
pub const ERRORS: &str = "firecracker.err";
/// What the machine is configured with once its process runs.
pub const CONFIG: &str = "firecracker.json";
/// The room of a process that is not jailed.
pub const RUN: &str = "run";

/// In the room: the API, and the guest's vsock.
pub const API_SOCKET: &str = "api.sock";
pub const VSOCK_SOCKET: &str = "v.sock";
/// In a jailed process's room, by the names that it knows them by.
pub const ROOM_KERNEL: &str = "kernel";
pub const ROOM_INITRD: &str = "initrd";
/// What a restored machine goes on from.
pub const ROOM_STATE: &str = "from.state";
pub const ROOM_MEMORY: &str = "from.memory";
