//! The agent's side of a session: whatever a host says.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, guest::fuzz::host));
