//! What is recorded of an idempotency key.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, actors::fuzz::outcome));
