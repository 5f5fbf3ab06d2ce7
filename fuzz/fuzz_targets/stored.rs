//! Every record of the journal, its counters and keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, storage::fuzz::stored));
