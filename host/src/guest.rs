//! The host's end of the guest agent. Owns the session's trait, the mux client over any byte stream, and the initramfs that carries the
//! agent. Does not own how the stream comes about (a driver's business) nor when to connect again (the actor's).
//!
//! A session is one connection: it settles hello, and ends with the stream, with the agent or when [`Guest`]'s last clone is dropped. It
//! is never resumed; what it ran is ended by the agent. Words on the kernel command line that the agent reads at boot, before any
//! session: `root=`, `rootfstype=`, `rootflags=`, `ro`, `init=`, `hearth.ip=10.77.0.5/16` (commas for more), `hearth.gw=10.77.0.1`,
//! `hearth.dns=10.77.0.1`, `hearth.hostname=name`, `hearth.mtu=1450`, `hearth.mac=525400010203` (the interface that all that is for; else the
//! first), `hearth.nics=525400010204@10.77.0.6/16` (others by their MACs, commas for more), `hearth.agent=vsock` (the agent listens on `api::guest::VSOCK_PORT`;
//! else `virtio`, a virtio-serial port), `hearth.poweroff=reboot` (where a power-off would leave the VMM standing: the agent writes
//! `api::guest::POWER_OFF_LINE` on the console and restarts; else `acpi`, the power-off itself).
use api::guest::GuestError;
use async_trait::async_trait;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

mod connection;
mod exec;
pub mod initramfs;
mod mux;

// All that the trait names, for those who implement it.
pub use api::guest::{ExecRequest, InterfaceAddresses, MetricsSample, NetworkConfig, ShutdownKind};
pub use connection::{Connection, ConnectionEvent, ConnectionSink, ConnectionSource, Port};
pub use exec::{Collected, ExecControl, ExecEvent, ExecLink, ExecOutput, ExecSession, ExecStdin, OutputSender};
pub use mux::Guest;
#[cfg(test)]
pub(crate) use mux::fuzz::script as fuzz_script;
#[cfg(any(test, fuzzing))]
pub(crate) use mux::fuzz::session as fuzz;

/// Who answered at hello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestInfo {
    pub agent_version: String,
    /// What both ends speak.
    pub generation: u32,
    pub kernel_release: String,
    /// Another one than before means that the guest was booted anew.
    pub boot_id: String,
    pub hostname: String,
    /// `systemd`, `busybox`, `agent` or `other`.
    pub init: String,
}

/// Why a session ended, or why something asked of it failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GuestFault {
    #[error("the guest's agent did not say hello within {after_ms} ms; look at the VM's console")]
    NoHello { after_ms: u64 },
    #[error("the guest's agent did not answer {request} within {after_ms} ms")]
    Timeout { request: &'static str, after_ms: u64 },
    #[error("the connection to the guest's agent is closed")]
    Closed,
    #[error("the guest's agent started anew; connect again")]
    AgentRestarted,
    #[error("the connection to the guest's agent broke: {detail}")]
    Broken { detail: String },
    #[error("the guest's agent speaks generation {settled}, which has no {request}; it is newer after the VM's next start")]
    TooOld { request: &'static str, settled: u32 },
    #[error("a request of {len} bytes is too large for the guest's agent; at most {most}")]
    TooLarge { len: usize, most: usize },
    #[error("the guest's agent refused: {0}")]
    Refused(GuestError),
    #[error("the guest's agent sent what can't be: {detail}")]
    Protocol { detail: &'static str },
    #[error("nobody listens at {port} of the guest")]
    NobodyListens { port: Port },
    /// A connection that stood.
    #[error("the connection to the guest's port broke: {detail}")]
    Reset { detail: String },
    /// By a way that is not the agent's.
    #[error("the guest's {port} can't be reached: {detail}")]
    Unreachable { port: Port, detail: String },
}

/// What actors use of a guest. Cancel: a dropped call may have taken effect. Every call ends by itself: with `Timeout` after
/// [`REQUEST_TIMEOUT`], with what [`GuestSession::closed`] gives when the session ends.
#[async_trait]
pub trait GuestSession: Send + Sync + std::fmt::Debug + 'static {
    fn info(&self) -> GuestInfo;

    /// Gives the round trip's time.
    async fn ping(&self) -> Result<Duration, GuestFault>;

    /// Returns when the process runs. `Refused` with `NotFound` or `PermissionDenied` when it can't.
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, GuestFault>;

    /// Connects to this TCP port of the guest's loopback. `NobodyListens` when nobody does, `TooOld` where the agent can't, `Refused` with `Busy`
    /// beyond what it holds at a time ([`api::guest::MAX_CONNECTIONS`]).
    async fn connect(&self, port: u16) -> Result<Connection, GuestFault>;

    /// The newest sample; `None` until the first, which comes right after hello.
    fn metrics(&self) -> watch::Receiver<Option<MetricsSample>>;

    /// How often samples come; `None` is the idle pace, the one at the start.
    async fn metrics_interval(&self, interval: Option<Duration>) -> Result<(), GuestFault>;

    /// Interfaces but loopback, at each change; empty until the first report.
    fn addresses(&self) -> watch::Receiver<Vec<InterfaceAddresses>>;

    /// The newest report, for who does not wait for the next.
    fn reported_addresses(&self) -> Vec<InterfaceAddresses> {
        self.addresses().borrow().clone()
    }

    /// To be called after each resume and restore: a guest's clock stands while it is stopped.
    async fn set_clock(&self, now: SystemTime) -> Result<(), GuestFault>;

    /// To be called first after a restore: clones share their generator's state. At most 512 bytes, 32 do.
    async fn add_entropy(&self, bytes: &[u8]) -> Result<(), GuestFault>;

    async fn configure_network(&self, config: NetworkConfig) -> Result<(), GuestFault>;

    /// Returns when the agent has accepted. The guest is gone by `deadline`, by force if it must; watch the VMM's exit for it.
    async fn shutdown(&self, kind: ShutdownKind, deadline: Duration) -> Result<(), GuestFault>;

    /// Resolves when the session is over, at once if it is already.
    async fn closed(&self) -> GuestFault;
}

/// How long the agent may take to answer: it answers at once, but its machine may be emulated, paused for a snapshot or starved.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
