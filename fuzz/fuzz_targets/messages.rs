//! Messages between host and guest agent.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, api::fuzz::messages));
