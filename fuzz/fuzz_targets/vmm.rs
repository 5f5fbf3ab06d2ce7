//! QEMU's control socket and events, /proc, and what programs print.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, host::fuzz::vmm));
