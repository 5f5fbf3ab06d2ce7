//! How large the journal's folder may become, for what is alive in it. A promise that `tests/space.rs` and `benches/space.rs` check.

/// Measured with 1,000,000 steps on 1,000 VMs and 500,000 events kept: 8.7, and level once events are pruned (docs/adr/0010).
pub const DISK_FACTOR: u64 = 10;
/// Segments of 512 KiB that are in use whatever is alive.
pub const DISK_FLOOR_BYTES: u64 = 8 << 20;

/// The most bytes on disk for so many bytes of keys, records and events.
pub fn disk_bound(live_bytes: u64) -> u64 {
    DISK_FLOOR_BYTES + DISK_FACTOR * live_bytes
}
