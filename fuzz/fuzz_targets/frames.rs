//! Frames between host and guest agent, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, api::fuzz::frames));
