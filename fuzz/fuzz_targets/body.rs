//! Bodies of requests and text frames of terminals.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, runtime::fuzz::body));
