//! Faults that are drawn, not random: the same seed, VM and launch give the same fate, so that a failing run can be repeated.

use domain::{Attempt, VmId};
use std::time::Duration;

/// How often what goes wrong; 0 is never, 1000 always.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub seed: u64,
    pub launch_fails_per_mille: u16,
    pub hello_late_per_mille: u16,
    pub hello_late_by: Duration,
    pub killed_per_mille: u16,
    /// After its release.
    pub killed_after: Duration,
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    LaunchFails,
    HelloLate,
    Killed,
}

impl Faults {
    pub fn hits(&self, fault: Fault, vm: VmId, launch: Attempt) -> bool {
        let per_mille = match fault {
            Fault::LaunchFails => self.launch_fails_per_mille,
            Fault::HelloLate => self.hello_late_per_mille,
            Fault::Killed => self.killed_per_mille,
        };
        // Each fault has dice of its own, else those that fail to launch are also those that are late.
        draw(self.seed.wrapping_add((fault as u64 + 1) << 32), vm, launch) % 1000 < u64::from(per_mille)
    }
}

/// FNV-1a over the text of what identifies the draw: stable over builds, which the standard hasher is not.
pub fn draw(seed: u64, vm: VmId, launch: Attempt) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = format!("{seed}/{vm}/{}", launch.0).as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
    // The low bits of FNV are its weakest.
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_repeats_and_hits_as_often_as_it_should() {
        let faults = Faults { seed: 7, launch_fails_per_mille: 100, killed_per_mille: 1000, ..Faults::default() };
        let hits = |fault| (0..10_000).filter(|&vm| faults.hits(fault, VmId::from_bits(vm), Attempt(1))).count();
        assert!((800..1200).contains(&hits(Fault::LaunchFails)), "{}", hits(Fault::LaunchFails));
        assert_eq!(hits(Fault::LaunchFails), hits(Fault::LaunchFails));
        assert_eq!((hits(Fault::HelloLate), hits(Fault::Killed)), (0, 10_000));
    }
}
