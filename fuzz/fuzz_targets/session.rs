//! The host's side of a session: whatever an agent says.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, host::fuzz::session));
