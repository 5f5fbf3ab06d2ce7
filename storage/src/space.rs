//! How large the journal's folder may become, for what is alive in it. A promise that `tests/space.rs` and the example `space_bench` check.

/// sled keeps the pages of 16 entries at least half full, and cleans segments of which less than half is alive; its moved pages and
/// the tail come on top. Measured with 1,000,000 steps: docs/RELIABILITY.md.
pub const DISK_FACTOR: u64 = 6;
/// Segments of 512 KiB that are in use whatever is alive.
pub const DISK_FLOOR_BYTES: u64 = 24 << 20;

/// The most bytes on disk for so many bytes of keys, records and events.
pub fn disk_bound(live_bytes: u64) -> u64 {
    DISK_FLOOR_BYTES + DISK_FACTOR * live_bytes
}
