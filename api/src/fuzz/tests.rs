//! Seeds of the targets, and the replay of their corpus.

use super::*;
use crate::guest::{
    ErrorCode, ExecRequest, ExitStatus, GuestError, HostHello, InterfaceAddresses, MetricsSample, NetworkConfig, ShutdownKind,
    TtySize, frame,
};

#[path = "../../../fuzz/shared/replay.rs"]
mod replay;

fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap()
}

fn said() -> Vec<Vec<u8>> {
    let tty = Some(TtySize { cols: 80, rows: 24 });
    let exec = ExecRequest { argv: vec!["sh".into()], env: vec![("A".into(), "b".into())], tty, ..ExecRequest::default() };
    let address = InterfaceAddress::parse("10.77.0.5/16").unwrap();
    let network = NetworkConfig { addresses: vec![address], gateways: vec![address.address], ..NetworkConfig::default() };
    let interfaces = vec![InterfaceAddresses { addresses: vec![address], ..InterfaceAddresses::default() }];
    vec![
        json(&HostMessage::Hello(HostHello { generation: 1, nonce: 7, host_version: "0".into() })),
        json(&HostMessage::Exec(exec)),
        json(&HostMessage::Signal { signal: 9 }),
        json(&HostMessage::AddEntropy { bytes: vec![1, 2, 255] }),
        json(&HostMessage::ConfigureNetwork(network)),
        json(&HostMessage::Shutdown { kind: ShutdownKind::Reboot, deadline_ms: u64::MAX }),
        json(&HostMessage::SubscribeMetrics { interval_ms: Some(200) }),
        json(&AgentMessage::Failed(GuestError::new(ErrorCode::Busy, "no"))),
        json(&AgentMessage::Started { pid: 1, stdin_credit: u32::MAX }),
        json(&AgentMessage::Exited { status: ExitStatus::Signal(15) }),
        json(&AgentMessage::Metrics(Box::<MetricsSample>::default())),
        json(&AgentMessage::Addresses { interfaces }),
        br#"{"type":"hello","generation":1,"nonce":7,"agent_version":"0"}"#.to_vec(),
        br#"{"type":"metrics","load":[1e99,-0.1,3.3333333333333335]}"#.to_vec(),
        br#"{"type":"teleport","to":[{}]}"#.to_vec(),
        b"fd00::5/64".to_vec(),
        json(&HostMessage::Connect { port: u16::MAX }),
        json(&AgentMessage::Connected { credit: 1 }),
        json(&AgentMessage::Disconnected { reason: Some("reset".into()) }),
        json(&AgentMessage::Failed(GuestError::new(ErrorCode::ConnectionRefused, "no"))),
    ]
}

/// A frame of each kind, one after half of one, one that is torn, one that is long.
fn wires() -> Vec<Vec<u8>> {
    let wire = |piece: u8, frames: &[(FrameKind, &[u8])]| {
        let mut wire = vec![piece];
        frames.iter().for_each(|(kind, payload)| frame::encode(*kind, 9, payload, &mut wire).unwrap());
        wire
    };
    let mut torn = wire(3, &[(FrameKind::Stdout, b"torn\0torn")]);
    torn.truncate(9);
    torn.extend(&wire(0, &[(FrameKind::Control, b"{}")])[1..]);
    vec![
        wire(0, &[(FrameKind::Control, b"{\"type\":\"ping\"}"), (FrameKind::Stdin, b"")]),
        wire(6, &[(FrameKind::Stderr, &[0; 8]), (FrameKind::Credit, &9u32.to_le_bytes()), (FrameKind::Credit, b"odd")]),
        wire(250, &[(FrameKind::Stdout, &[1; 600])]),
        torn,
        vec![1, 0, 0, 0, 5, 1, 2, 3, 0],
    ]
}

#[test]
fn frames_corpus() {
    replay::replay("frames", &wires(), frames);
}

#[test]
fn messages_corpus() {
    replay::replay("messages", &said(), messages);
}
