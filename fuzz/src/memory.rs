//! No input makes a parser hold more memory than so many times its own length, and a little. Counted by the allocator, so that it holds for
//! libraries too.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Tables, buffers and runtimes that do not depend on the input. The largest is the envelope's limit: a decoder may claim a megabyte.
const BASE_BYTES: usize = 8 << 20;
/// `[{},{},{},…]` of a type with a few lists and texts is the worst that was seen: 24 times; a parser that keeps aside what it has not yet
/// decided on (tagged enums) holds it twice.
const TIMES: usize = 256;

/// Runs `target` and panics when it held too much at a time.
pub fn bounded(input: &[u8], target: fn(&[u8])) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    target(input);
    let held = MEMORY.peak_usage().saturating_sub(before);
    let most = BASE_BYTES + TIMES * input.len();
    assert!(held <= most, "{held} bytes were held for an input of {} bytes, at most {most} may be", input.len());
}
