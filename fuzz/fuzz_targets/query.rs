//! Queries, cursors and headers of requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, runtime::fuzz::query));
