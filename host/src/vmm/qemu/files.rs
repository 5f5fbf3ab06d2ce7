//! The names of the files that QEMU's driver keeps in a VM's folder, beside those of every driver.

pub use super::super::shared::layout::CONSOLE_LOG;

pub const DISK: &str = "disk.qcow2";
pub const CONTROL_SOCKET: &str = "qmp.sock";
pub const EVENTS_SOCKET: &str = "events.sock";
pub const AGENT_SOCKET: &str = "agent.sock";
pub const CONSOLE_SOCKET: &str = "console.sock";
/// What the monitor of events wrote in the newest launch; tells how it ended, also when nobody watched.
pub const EVENTS_LOG: &str = "events.log";
/// What QEMU itself printed in the newest launch.
pub const VMM_LOG: &str = "qemu.log";

/// What the balloon of the next start shall hold, MiB; absent: nothing.
pub const BALLOON: &str = "balloon";

/// In the order of the descriptors that the VMM inherits.
pub const SOCKETS: [&str; 4] = [CONTROL_SOCKET, EVENTS_SOCKET, AGENT_SOCKET, CONSOLE_SOCKET];
