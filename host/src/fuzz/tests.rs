//! Seeds of the targets, and the replay of their corpus.

use super::*;
use crate::guest::fuzz_script::script;
use api::guest::{AgentMessage, ErrorCode, ExitStatus, GuestError, MetricsSample};

#[path = "../../../fuzz/shared/replay.rs"]
mod replay;

fn json(message: &AgentMessage) -> Vec<u8> {
    serde_json::to_vec(message).unwrap()
}

fn sessions() -> Vec<Vec<u8>> {
    let of = |records: &[(u8, u8, &[u8])]| [&[0], script(records).as_slice()].concat();
    let metrics = json(&AgentMessage::Metrics(Box::<MetricsSample>::default()));
    let exited = json(&AgentMessage::Exited { status: ExitStatus::Code(3) });
    let started = json(&AgentMessage::Started { pid: 9, stdin_credit: u32::MAX });
    let connected = json(&AgentMessage::Connected { credit: u32::MAX });
    let over = json(&AgentMessage::Disconnected { reason: Some("é".repeat(90)) });
    let refused = json(&AgentMessage::Failed(GuestError::new(ErrorCode::NoSession, "who?")));
    vec![
        of(&[(0, 3, &started), (4, 3, b"out"), (5, 3, b"err"), (0, 3, &exited), (4, 3, b"late")]),
        of(&[(6, 1, &u32::MAX.to_le_bytes()), (6, 1, &u32::MAX.to_le_bytes()), (6, 1, b"odd")]),
        of(&[(4, 2, [1; 255].as_slice()); 9]),
        of(&[(0, 0, &json(&AgentMessage::Restarted))]),
        of(&[(0, 4, &json(&AgentMessage::Done)), (0, 4, &json(&AgentMessage::Done)), (0, 5, &refused)]),
        of(&[(0, 0, &metrics[..255.min(metrics.len())]), (3, 1, b"for the host")]),
        of(&[(7, 0, &[3, 1, 2, 0]), (0, 0, b"{\"type\":\"addresses\",\"interfaces\":[{}]}"), (4, 1, b"")]),
        [&[1], [0, 5, 1, 2, 3, 0].as_slice()].concat(),
        // Frames as long as credit never covers, to nobody and to one who listens.
        [&[0], [4, 9, 255].repeat(400).as_slice(), [4, 2, 255].repeat(9).as_slice()].concat(),
        of(&[(0, 8, &connected), (4, 8, b"out"), (6, 8, &9u32.to_le_bytes()), (4, 8, b""), (0, 8, &over), (4, 8, b"late")]),
        of(&[(4, 7, b""), (4, 7, b"after the end")]),
        of(&[(5, 7, b"errors of none")]),
        of(&[(0, 7, &exited), (0, 1, &over), (0, 8, &json(&AgentMessage::Done))]),
        // Without an end, beyond the window.
        [&[0], [4, 7, 255].repeat(9).as_slice()].concat(),
    ]
}

fn words() -> Vec<Vec<u8>> {
    let of = |which: u8, text: &[u8]| [&[which], text].concat();
    let events =
        b"{\"QMP\":{}}\r\n{\"event\":\"GUEST_PANICKED\"}\n{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}\n{\"ev";
    let note = b"boot\n{\"vm\":\"x\",\"note\":null,\"phase\":null}\n\xff\xfe\n{\"half";
    vec![
        of(
            0,
            b"\0\x01no\r\n{\"event\":\"STOP\"}\r\n[]\r\n{\"return\":{},\"id\":7}\r\n{\"id\":7,\"error\":{\"desc\":\"no\"}}\r\n",
        ),
        of(1, events),
        of(2, b"4242 (qemu) x (y 1) S 1 4242 4242 0 -1 0 0 0 0 0 70 30 0 0 20 0 5 0 123456 900000 2048 1"),
        of(3, b"42 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw\n - cgroup2"),
        of(4, b"QEMU emulator version 7.2.22 (Debian 1:7.2)"),
        of(5, b"{\"status\":\"io-error\"}"),
        of(192, note),
        of(255, b"{\"nftables\":[{\"chain\":{\"hook\":\"forward\",\"policy\":\"drop\",\"name\":7}}]}"),
        of(255, b"cgroup2 /sys/fs/cgroup cgroup2 rw\nv1.16.1 6.1.0-56"),
        of(224, b"{\"block_root\":{\"write_bytes\":9},\"net_eth0\":{\"rx_bytes_count\":3},\"vcpu\":{\"exit_io_in\":1}}\n{\"half"),
        of(240, b"[{\"device\":\"root\",\"stats\":{\"rd_bytes\":1,\"wr_bytes\":2,\"rd_operations\":1,\"wr_operations\":1}}]"),
    ]
}

fn images() -> Vec<Vec<u8>> {
    let mut ext4 = vec![2, 0, 0, 0, 0, 8, 0, 0];
    ext4.resize(8 + 2048, 0);
    ext4[8 + 1028] = 9;
    ext4[8 + 1080..8 + 1082].copy_from_slice(&[0x53, 0xEF]);
    let mut huge = ext4.clone();
    huge[8 + 1028..8 + 1032].fill(255);
    huge[8 + 1048] = 6;
    let elf = [&[0; 8], b"\x7fELF and more".as_slice()].concat();
    let mut bzimage = vec![0; 8 + 0x206];
    bzimage[8 + 0x202..].copy_from_slice(b"HdrS");
    let cpio = [&[4, 0, 0, 0, 0, 0, 0, 0], b"070701".as_slice()].concat();
    vec![ext4, huge, elf, bzimage, cpio]
}

fn consoles() -> Vec<Vec<u8>> {
    vec![vec![0, 9, 3, 4, 2, 2, 3, 9, 0, 200, 2, 100, 3, 1], vec![2, 0, 3, 0, 0, 255, 1, 255, 2, 1, 3, 255, 3, 255, 2, 0, 0, 1]]
}

#[test]
fn session_corpus() {
    replay::replay("session", &sessions(), session);
}

#[test]
fn vmm_corpus() {
    replay::replay("vmm", &words(), vmm);
}

#[test]
fn console_corpus() {
    replay::replay("console", &consoles(), console);
}

#[test]
fn image_corpus() {
    replay::replay("image", &images(), image);
}
