//! What a machine without a process tells of itself from outside: made up from how long it is known, alike inside and outside, and as little as
//! keeps it apart from one that stands still.

use super::super::outside::{DriveUse, InterfaceUse, Outside, ProcessUse};
use super::{notes::Note, table::Entry};
use std::time::Instant;

const BLOCK: u64 = 4096;
/// What a boot reads.
const BOOT_BLOCKS: u64 = 4096;
/// Between two blocks that are written.
const BLOCK_EVERY_MS: u64 = 100;
const PACKET: u64 = 100;
const PACKET_EVERY_MS: u64 = 1000;

fn elapsed_ms(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

pub fn drives(since: Instant) -> Vec<DriveUse> {
    let writes = elapsed_ms(since) / BLOCK_EVERY_MS;
    let (read_bytes, written_bytes) = (BOOT_BLOCKS * BLOCK, writes * BLOCK);
    let root = DriveUse { name: "root".into(), read_bytes, written_bytes, reads: BOOT_BLOCKS, writes, ..DriveUse::default() };
    vec![root]
}

/// Empty for a machine without a network.
pub fn interfaces(note: &Note, since: Instant) -> Vec<InterfaceUse> {
    let packets = elapsed_ms(since) / PACKET_EVERY_MS;
    let interface = |(index, _nic)| InterfaceUse {
        name: format!("eth{index}"),
        received_bytes: packets * PACKET,
        received_packets: packets,
        sent_bytes: packets * PACKET,
        sent_packets: packets,
        ..InterfaceUse::default()
    };
    note.nics().enumerate().map(interface).collect()
}

/// No process, no balloon, no filter: nothing is told of them but a process that uses nothing, as `usage` does.
pub fn look(entry: &Entry) -> Outside {
    Outside {
        process: Some(ProcessUse::default()),
        since_ms: Some(entry.since_ms),
        drives: drives(entry.since),
        interfaces: interfaces(&entry.note, entry.since),
        ..Outside::default()
    }
}
