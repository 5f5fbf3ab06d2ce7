//! Seeds of the targets, and the replay of their corpus.

use super::*;
use api::guest::{ExecRequest, HostHello, NetworkConfig, ShutdownKind, frame};

#[path = "../../../fuzz/shared/replay.rs"]
mod replay;

fn json(message: &HostMessage) -> Vec<u8> {
    serde_json::to_vec(message).unwrap()
}

fn hello(nonce: u64) -> Vec<u8> {
    json(&HostMessage::Hello(HostHello { generation: 1, nonce, host_version: "0".into() }))
}

fn sessions() -> Vec<Vec<u8>> {
    let of = |how: u8, records: &[(u8, u8, &[u8])]| {
        let mut input = vec![how];
        input.extend(script::script(records));
        input
    };
    let exec = json(&HostMessage::Exec(ExecRequest { argv: vec!["true".into()], ..ExecRequest::default() }));
    let shutdown = json(&HostMessage::Shutdown { kind: ShutdownKind::Poweroff, deadline_ms: 1 });
    let network = json(&HostMessage::ConfigureNetwork(NetworkConfig::default()));
    let mut raw = vec![2];
    frame::encode(FrameKind::Control, 0, &hello(9), &mut raw).unwrap();
    vec![
        of(0, &[(0, 1, &json(&HostMessage::Ping)), (0, 0, &hello(NONCE))]),
        of(1, &[(0, 1, &json(&HostMessage::Ping)), (0, 0, &hello(NONCE)), (0, 0, &hello(8))]),
        of(1, &[(0, 1, &exec), (3, 1, b"input"), (6, 1, &u32::MAX.to_le_bytes()), (0, 1, &json(&HostMessage::Close))]),
        of(1, &[(0, 2, &shutdown), (0, 3, &network), (0, 4, b"{\"type\":\"teleport\"}"), (0, 5, b"no")]),
        of(1, &[(0, 2, &json(&HostMessage::SetClock { epoch_ns: u64::MAX })), (7, 0, &[1, 0, 2]), (4, 2, b"output")]),
        of(1, &[(0, 2, &json(&HostMessage::SubscribeMetrics { interval_ms: Some(0) })), (3, 255, &[0; 255])]),
        raw,
        of(
            1,
            &[
                (0, 1, &json(&HostMessage::Connect { port: 80 })),
                (3, 1, b"input"),
                (3, 1, b""),
                (0, 1, &json(&HostMessage::Close)),
            ],
        ),
        of(0, &[(0, 0, &json(&HostMessage::Connect { port: 0 })), (0, 1, b"{\"type\":\"connect\",\"port\":65536}")]),
    ]
}

/// What this machine says, and what none should.
fn listed() -> Vec<Vec<u8>> {
    let of = |which: u8, text: &[u8]| [&[which], text].concat();
    let dump = network::fuzz_example();
    let diskstats = b"254 0 vda 100 0 800 10 5 0 18446744073709551615 3 0 1 1\n7 0 loop0 1 2 3 4 5 6 7 8 9\n";
    vec![
        of(0, &dump),
        of(1, b"cpu  100 10 50 1000 5 1 2 3 0 0\ncpu0 1 2 3\nMemTotal: 1024 kB\nMemFree: 18446744073709551615 kB\n"),
        of(
            2,
            b"console=ttyS0 root=/dev/vda ro init=/sbin/init hearth.ip=10.77.0.5/16,fd00::5/64 hearth.gw=10.77.0.1 hearth.dns=x",
        ),
        of(3, b"web:disk\0root:x:0:0:root:/root:/bin/bash\nweb:x:1000:1000::/home/web:/bin/sh\n\0disk:x:6:root,web\n"),
        of(3, b"4294967295:7\0\0"),
        of(4, b"52:54:00:ab:CD:01"),
        of(5, diskstats),
        of(5, b"a\nb\n    lo: 1 1 0 0 0 0 0 0 1 1\n  eth0: 10 2 3 0 0 0 0 0 20 4 5 0 0 0 0 0\n0.20 0.18 0.12 1/80 11206"),
        of(5, b"inf nan -infinity 1/80 11206"),
        of(6, &[3, 1, 2, 3, 0, 8, 1, 1, 1, 1, 1, 1, 1, 1]),
        of(2, b"root=/dev/vda reboot=k hearth.agent=vsock hearth.poweroff=reboot hearth.agent=pigeon"),
        of(2, b"root=/dev/vda hearth.mac=5254000102ff hearth.nics=525400010301@10.77.0.6/16,52540001030x@10.77.0.7/16,@,"),
    ]
}

#[test]
fn host_corpus() {
    replay::replay("host", &sessions(), host);
}

#[test]
fn tables_corpus() {
    replay::replay("tables", &listed(), tables);
}
