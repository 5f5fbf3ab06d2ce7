//! The control messages, JSON in frames of kind `Control`. Each names the generation it was born in; unknown ones decode to `Unknown`.
use super::{ExecRequest, ExitStatus, GuestError, InterfaceAddresses, MetricsSample, NetworkConfig, TtySize};
use serde::{Deserialize, Serialize};

/// From host to agent. Every one but `Hello` is answered once under its frame's stream id with `Done`, `Failed` or what is named here;
/// those about a running exec or a connection bear its id and are answered only by `Failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HostMessage {
    /// Begins a session; answered by the agent's `Hello`.
    Hello(HostHello),
    /// Answered by `Done`.
    Ping,
    /// Answered by `Started` or `Failed`; then `Exited` after the last byte of output.
    Exec(ExecRequest),
    /// The exec's terminal has another size.
    Resize(TtySize),
    /// A signal number for the exec's process group.
    Signal {
        signal: i32,
    },
    /// Nobody listens to this stream any more: an exec gets SIGHUP, SIGKILL after the grace; a connection is dropped.
    Close,
    /// Pace of `Metrics`; absent: the idle pace.
    SubscribeMetrics {
        interval_ms: Option<u32>,
    },
    /// Sets the wall clock.
    SetClock {
        epoch_ns: u64,
    },
    /// Mixes these into the kernel's generator, credited, and reseeds it.
    AddEntropy {
        bytes: Vec<u8>,
    },
    ConfigureNetwork(NetworkConfig),
    /// `Done` means accepted. The guest is asked politely, and forced shortly before the deadline.
    Shutdown {
        kind: ShutdownKind,
        deadline_ms: u64,
    },
    /// Opens a TCP connection to this port of the guest's loopback, by IPv4 or else IPv6. Answered by `Connected` or `Failed`; then bytes go
    /// both ways as an exec's input and standard output do, no bytes being each side's end, until `Disconnected`. `Close` drops it.
    Connect {
        port: u16,
    },
    /// Of a later generation.
    #[serde(other)]
    Unknown,
}

/// From agent to host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AgentMessage {
    /// The agent has just come up and knows no session: say hello (again).
    Restarted,
    Hello(AgentHello),
    Done,
    Failed(GuestError),
    /// The exec runs; its stdin has this much credit.
    Started {
        pid: u32,
        stdin_credit: u32,
    },
    /// Comes after the exec's last output; the stream is over.
    Exited {
        status: ExitStatus,
    },
    /// The connection stands; the host may send so much on it.
    Connected {
        credit: u32,
    },
    /// Comes after the connection's last byte; the stream is over. With a reason if it broke, of at most [`super::MAX_REASON`] bytes.
    Disconnected {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Stream 0, at the pace asked for.
    Metrics(Box<MetricsSample>),
    /// Stream 0, after hello and at each change.
    Addresses {
        interfaces: Vec<InterfaceAddresses>,
    },
    #[serde(other)]
    Unknown,
}

/// How a host introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostHello {
    /// The newest that the host speaks.
    pub generation: u32,
    /// Random, another for each session.
    pub nonce: u64,
    #[serde(default)]
    pub host_version: String,
}

/// How the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHello {
    /// What both speak: the lower of the two.
    pub generation: u32,
    /// The host's, back.
    pub nonce: u64,
    #[serde(default)]
    pub agent_version: String,
    #[serde(default)]
    pub kernel_release: String,
    /// `/proc/sys/kernel/random/boot_id`: another one means that the guest was booted anew.
    #[serde(default)]
    pub boot_id: String,
    #[serde(default)]
    pub hostname: String,
    /// What PID 1 is, for people: `systemd`, `busybox`, `agent`, `other`.
    #[serde(default)]
    pub init: String,
}

/// Where a shutdown leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownKind {
    Poweroff,
    Reboot,
    /// Of a later generation; the agent refuses it.
    #[serde(other)]
    Unknown,
}

impl HostMessage {
    /// The generation that brought this message. Not to be sent to an agent that settled on an earlier one.
    pub const fn born(&self) -> u32 {
        match self {
            Self::Hello(_) | Self::Ping | Self::Exec(_) | Self::Resize(_) | Self::Signal { .. } | Self::Close => 1,
            Self::SubscribeMetrics { .. } | Self::SetClock { .. } | Self::AddEntropy { .. } => 1,
            Self::ConfigureNetwork(_) | Self::Shutdown { .. } => 1,
            Self::Connect { .. } => 2,
            Self::Unknown => u32::MAX,
        }
    }

    /// For logs and errors: never the content, which may hold secrets.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Ping => "ping",
            Self::Exec(_) => "exec",
            Self::Resize(_) => "resize",
            Self::Signal { .. } => "signal",
            Self::Close => "close",
            Self::SubscribeMetrics { .. } => "subscribe-metrics",
            Self::SetClock { .. } => "set-clock",
            Self::AddEntropy { .. } => "add-entropy",
            Self::ConfigureNetwork(_) => "configure-network",
            Self::Shutdown { .. } => "shutdown",
            Self::Connect { .. } => "connect",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{ErrorCode, Stdin};

    #[test]
    fn what_a_later_generation_says_decodes_to_unknown() {
        let message = br#"{"type":"teleport","to":{"planet":"mars"},"list":[1,2]}"#;
        assert_eq!(serde_json::from_slice::<HostMessage>(message).unwrap(), HostMessage::Unknown);
        assert_eq!(serde_json::from_slice::<AgentMessage>(message).unwrap(), AgentMessage::Unknown);
        assert_eq!(serde_json::from_str::<ErrorCode>("\"too-hot\"").unwrap(), ErrorCode::Unknown);
        assert_eq!(serde_json::from_str::<Stdin>("\"telepathy\"").unwrap(), Stdin::Unknown);
    }

    #[test]
    fn absent_and_additional_fields_are_taken() {
        let message = br#"{"type":"exec","argv":["true"],"colour":"red"}"#;
        let HostMessage::Exec(exec) = serde_json::from_slice(message).unwrap() else { panic!("not an exec") };
        assert_eq!(exec, ExecRequest { argv: vec!["true".into()], ..ExecRequest::default() });
        let hello = br#"{"type":"hello","generation":1,"nonce":7}"#;
        assert!(matches!(serde_json::from_slice(hello).unwrap(), AgentMessage::Hello(hello) if hello.nonce == 7));
        let sample = br#"{"type":"metrics","uptime_ms":5}"#;
        assert!(matches!(serde_json::from_slice(sample).unwrap(), AgentMessage::Metrics(sample) if sample.uptime_ms == 5));
    }

    #[test]
    fn the_words_on_the_wire_stay() {
        let message = HostMessage::Shutdown { kind: ShutdownKind::Poweroff, deadline_ms: 9 };
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(text, r#"{"type":"shutdown","kind":"poweroff","deadline_ms":9}"#);
        let exited = serde_json::to_string(&AgentMessage::Exited { status: ExitStatus::Code(3) }).unwrap();
        assert_eq!(exited, r#"{"type":"exited","status":{"code":3}}"#);
        let connect = serde_json::to_string(&HostMessage::Connect { port: 80 }).unwrap();
        assert_eq!(connect, r#"{"type":"connect","port":80}"#);
        let connected = serde_json::to_string(&AgentMessage::Connected { credit: 7 }).unwrap();
        assert_eq!(connected, r#"{"type":"connected","credit":7}"#);
        let over = AgentMessage::Disconnected { reason: None };
        assert_eq!(serde_json::to_string(&over).unwrap(), r#"{"type":"disconnected"}"#);
        assert_eq!(serde_json::to_string(&ErrorCode::ConnectionRefused).unwrap(), r#""connection-refused""#);
    }

    /// An agent of the first generation answers hello with that; it is never sent what it does not know.
    #[test]
    fn what_the_first_generation_does_not_know_is_born_later() {
        assert_eq!((HostMessage::Ping.born(), HostMessage::Connect { port: 1 }.born()), (1, 2));
    }
}
