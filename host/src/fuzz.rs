//! What must hold for any bytes from guests, from QEMU, from the kernel and from files that somebody imports. Each function takes a fuzzer's
//! input and panics when a property does not hold; the targets under `fuzz/` call them, and the tests here replay the corpus.

use crate::{doctor, guest, image, vmm};

/// A session with an agent that says whatever it wants.
pub fn session(input: &[u8]) {
    guest::fuzz(input);
}

/// QEMU's control socket and log of events, and what /proc says of processes and mounts; what simulated VMs left; what programs print; what
/// VMMs say of their machines from outside.
pub fn vmm(input: &[u8]) {
    match input.split_first() {
        Some((0..=191, _)) => vmm::qemu::fuzz::words(input),
        Some((192..=223, rest)) => vmm::simulated::fuzz(rest),
        Some((224..=239, rest)) => vmm::firecracker::fuzz(rest),
        Some((240..=247, rest)) => vmm::qemu::fuzz::outside(rest),
        Some((_, rest)) => doctor::fuzz(rest),
        None => {}
    }
}

/// The serial console's log, read while it is written and cut.
pub fn console(input: &[u8]) {
    vmm::qemu::fuzz::console(input);
}

/// Files that are said to be kernels, root file systems or initramfs.
pub fn image(input: &[u8]) {
    image::fuzz(input);
}

#[cfg(test)]
mod tests;
