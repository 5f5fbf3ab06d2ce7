//! How long the steps of a start took, also of one that failed, in the log at `debug`: `HEARTH_LOG=info,host::vmm::firecracker::marks=debug`. Decides
//! nothing. A start is three calls (launch, release, guest), what passes between them is in none, and a guest that is met once more is told alike.

use domain::VmId;
use std::time::Instant;

/// The steps of one call, one after the other.
#[derive(Debug)]
pub struct Marks {
    vm: VmId,
    since: Instant,
}

impl Marks {
    /// The first step begins.
    pub fn begin(vm: VmId) -> Self {
        Self { vm, since: Instant::now() }
    }

    /// `step` has ended, and the next begins.
    pub fn end(&mut self, step: &'static str) {
        let now = Instant::now();
        let took_us = u64::try_from((now - self.since).as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(vm = %self.vm, step, took_us, "a step of a start");
        self.since = now;
    }
}
