//! The serial console's log, read while it grows and is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, host::fuzz::console));
