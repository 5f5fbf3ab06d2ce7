//! The frequency of this machine's time stamp counter, measured. An emulated guest is told it, since it can't measure it itself.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Long enough that two reads of the clock, some 100 ns apart, are below 1 in 10^6; the result was equal to the kernel's own figure.
const SPAN: Duration = Duration::from_millis(200);

/// In kHz. Blocks for [`SPAN`]. `None` on a machine without one.
#[cfg(target_arch = "x86_64")]
pub fn measure_khz() -> Option<u64> {
    let (ticks, time) = read()?;
    // Not a wait for something to happen: the span is what is measured over, however long it really was.
    std::thread::sleep(SPAN);
    let (later_ticks, later_time) = read()?;
    let elapsed_ns = later_time.checked_sub(time)?.as_nanos();
    let khz = u128::from(later_ticks.checked_sub(ticks)?) * 1_000_000 / elapsed_ns.max(1);
    u64::try_from(khz).ok().filter(|&khz| khz > 0)
}

#[cfg(not(target_arch = "x86_64"))]
pub fn measure_khz() -> Option<u64> {
    None
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn read() -> Option<(u64, Duration)> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW).ok()?;
    // SAFETY: rdtsc reads a register; every x86-64 has it.
    let ticks = unsafe { std::arch::x86_64::_rdtsc() };
    Some((ticks, Duration::from(time)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_measurements_agree() {
        let (one, two) = (super::measure_khz().unwrap(), super::measure_khz().unwrap());
        assert!(one > 100_000 && one.abs_diff(two) * 1000 < one, "{one} {two}");
    }
}
