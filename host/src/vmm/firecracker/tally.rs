//! What a Firecracker counted, summed up: a line of its metrics says what was counted since the line before. Pure. The lines are a stranger's
//! who may have taken the process over: whatever they say, the sum stays of bounded size, and only grows.
//!
//! Source: Firecracker's `src/vmm/src/logger/metrics.rs` and its `docs/metrics.md`, 1.16 and 1.17.

use super::super::outside::{DriveUse, InterfaceUse, Safety, VcpuExits};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// More devices of one kind than a machine has interrupts for.
const MOST_DEVICES: usize = 32;
/// A device's id is hearth's own word, and short.
const MOST_NAME: usize = 64;

/// Sums since a moment that whoever keeps it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    drives: BTreeMap<String, DriveSum>,
    interfaces: BTreeMap<String, InterfaceSum>,
    seccomp_faults: u64,
    api_failures: u64,
    exits: [u64; 5],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct DriveSum {
    read_bytes: u64,
    written_bytes: u64,
    reads: u64,
    writes: u64,
    failed: u64,
    throttled: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct InterfaceSum {
    received_bytes: u64,
    received_packets: u64,
    sent_bytes: u64,
    sent_packets: u64,
    throttled: u64,
    refused: u64,
}

const EXITS: [&str; 5] = ["exit_io_in", "exit_io_out", "exit_mmio_read", "exit_mmio_write", "failures"];

impl Tally {
    /// Adds what a line says; one that is no line of metrics adds nothing.
    pub fn add(&mut self, line: &[u8]) {
        let Ok(Value::Object(parts)) = serde_json::from_slice(line) else { return };
        for (name, part) in &parts {
            let Value::Object(part) = part else { continue };
            match name.as_str() {
                "vcpu" => self.exits.iter_mut().zip(EXITS).for_each(|(sum, name)| add(sum, part, &[name])),
                // Not a count since the last line but what it is by now.
                "seccomp" => self.seccomp_faults = self.seccomp_faults.max(number(part, "num_faults")),
                "put_api_requests" | "patch_api_requests" => {
                    let failed = part.iter().filter(|(name, _)| name.ends_with("_fails"));
                    let failed = failed.filter_map(|(_, count)| count.as_u64()).fold(0, u64::saturating_add);
                    self.api_failures = self.api_failures.saturating_add(failed);
                }
                name => {
                    if let Some(drive) = name.strip_prefix("block_").and_then(|id| device(&mut self.drives, id)) {
                        drive.add(part);
                    } else if let Some(interface) = name.strip_prefix("net_").and_then(|id| device(&mut self.interfaces, id)) {
                        interface.add(part);
                    }
                }
            }
        }
    }

    pub fn drives(&self) -> Vec<DriveUse> {
        let drive = |(name, sum): (&String, &DriveSum)| DriveUse {
            name: name.clone(),
            read_bytes: sum.read_bytes,
            written_bytes: sum.written_bytes,
            reads: sum.reads,
            writes: sum.writes,
            failed: Some(sum.failed),
            throttled: Some(sum.throttled),
        };
        self.drives.iter().map(drive).collect()
    }

    pub fn interfaces(&self) -> Vec<InterfaceUse> {
        let interface = |(name, sum): (&String, &InterfaceSum)| InterfaceUse {
            name: name.clone(),
            received_bytes: sum.received_bytes,
            received_packets: sum.received_packets,
            sent_bytes: sum.sent_bytes,
            sent_packets: sum.sent_packets,
            dropped: None,
            throttled: Some(sum.throttled),
            refused: Some(sum.refused),
        };
        self.interfaces.iter().map(interface).collect()
    }

    pub fn safety(&self) -> Safety {
        let [io_in, io_out, mmio_read, mmio_write, failures] = self.exits;
        let exits = VcpuExits { io_in, io_out, mmio_read, mmio_write, failures };
        Safety { seccomp_faults: self.seccomp_faults, api_failures: self.api_failures, exits }
    }
}

impl DriveSum {
    fn add(&mut self, part: &Map<String, Value>) {
        add(&mut self.read_bytes, part, &["read_bytes"]);
        add(&mut self.written_bytes, part, &["write_bytes"]);
        add(&mut self.reads, part, &["read_count"]);
        add(&mut self.writes, part, &["write_count"]);
        add(&mut self.failed, part, &["execute_fails", "invalid_reqs_count"]);
        add(&mut self.throttled, part, &["rate_limiter_throttled_events"]);
    }
}

impl InterfaceSum {
    fn add(&mut self, part: &Map<String, Value>) {
        add(&mut self.received_bytes, part, &["rx_bytes_count"]);
        add(&mut self.received_packets, part, &["rx_packets_count"]);
        add(&mut self.sent_bytes, part, &["tx_bytes_count"]);
        add(&mut self.sent_packets, part, &["tx_packets_count"]);
        add(&mut self.throttled, part, &["rx_rate_limiter_throttled", "tx_rate_limiter_throttled"]);
        add(&mut self.refused, part, &["tx_spoofed_mac_count", "tx_malformed_frames"]);
    }
}

/// The device of that id; none for one more than a machine can have.
fn device<'a, T: Default>(devices: &'a mut BTreeMap<String, T>, id: &str) -> Option<&'a mut T> {
    if id.is_empty() || id.len() > MOST_NAME || (devices.len() >= MOST_DEVICES && !devices.contains_key(id)) {
        return None;
    }
    Some(devices.entry(id.to_owned()).or_default())
}

fn number(part: &Map<String, Value>, name: &str) -> u64 {
    part.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn add(sum: &mut u64, part: &Map<String, Value>, names: &[&str]) {
    *sum = names.iter().fold(*sum, |sum, name| sum.saturating_add(number(part, name)));
}

/// Whatever the lines say, nothing gets smaller, and the sum is read back as it was written.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(lines: &[u8]) {
    let mut tally = Tally::default();
    for line in lines.split(|&byte| byte == b'\n').take(64) {
        let before = tally.clone();
        tally.add(line);
        let (old, new) = (before.drives(), tally.drives());
        assert!(new.len() <= MOST_DEVICES && tally.interfaces().len() <= MOST_DEVICES);
        for drive in old {
            let now = new.iter().find(|now| now.name == drive.name).expect("no drive is forgotten");
            assert!(now.written_bytes >= drive.written_bytes && now.reads >= drive.reads && now.throttled >= drive.throttled);
        }
        assert!(tally.safety().seccomp_faults >= before.safety().seccomp_faults);
        assert!(tally.safety().api_failures >= before.safety().api_failures);
    }
    let text = serde_json::to_vec(&tally).expect("a tally is JSON");
    assert_eq!(serde_json::from_slice::<Tally>(&text).expect("and read back"), tally);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_differences_but_for_what_is_kept_by_the_process_itself() {
        let mut tally = Tally::default();
        let line = br#"{"utc_timestamp_ms":7,"block_root":{"read_bytes":4096,"write_bytes":512,"read_count":2,"write_count":1,
            "execute_fails":1,"invalid_reqs_count":2,"rate_limiter_throttled_events":9},"block":{"read_bytes":4096},
            "net_eth0":{"rx_bytes_count":60,"rx_packets_count":1,"tx_bytes_count":40,"tx_packets_count":2,
            "rx_rate_limiter_throttled":1,"tx_rate_limiter_throttled":2,"tx_spoofed_mac_count":3,"tx_malformed_frames":4},
            "vcpu":{"exit_io_in":1,"exit_io_out":2,"exit_mmio_read":3,"exit_mmio_write":4,"failures":5,"exit_io_in_agg":{"sum_us":1}},
            "seccomp":{"num_faults":1},"put_api_requests":{"drive_count":5,"drive_fails":2},"patch_api_requests":{"mmds_fails":1}}"#;
        tally.add(line);
        tally.add(b"{\"half");
        tally.add(line);
        let root = DriveUse {
            name: "root".into(),
            read_bytes: 8192,
            written_bytes: 1024,
            reads: 4,
            writes: 2,
            failed: Some(6),
            throttled: Some(18),
        };
        assert_eq!(tally.drives(), [root]);
        let eth0 = InterfaceUse {
            name: "eth0".into(),
            received_bytes: 120,
            received_packets: 2,
            sent_bytes: 80,
            sent_packets: 4,
            dropped: None,
            throttled: Some(6),
            refused: Some(14),
        };
        assert_eq!(tally.interfaces(), [eth0]);
        let exits = VcpuExits { io_in: 2, io_out: 4, mmio_read: 6, mmio_write: 8, failures: 10 };
        assert_eq!(tally.safety(), Safety { seccomp_faults: 1, api_failures: 6, exits });
    }

    #[test]
    fn nonsense_adds_nothing_and_stays_small() {
        let mut tally = Tally::default();
        for line in
            [&b"[]"[..], b"", b"\xff", b"{\"block_\":{\"read_bytes\":1}}", b"{\"block_a\":7,\"vcpu\":{\"exit_io_in\":-1}}"]
        {
            tally.add(line);
        }
        assert_eq!(tally, Tally::default());
        let many: Vec<String> = (0..100).map(|n| format!("\"block_d{n}\":{{\"write_bytes\":{}}}", u64::MAX)).collect();
        for _ in 0..2 {
            tally.add(format!("{{{}}}", many.join(",")).as_bytes());
        }
        assert_eq!(tally.drives().len(), MOST_DEVICES);
        assert!(tally.drives().iter().all(|drive| drive.written_bytes == u64::MAX), "it saturates");
    }
}
