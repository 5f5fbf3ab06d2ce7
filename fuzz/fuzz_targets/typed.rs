//! Sizes, times, labels, names and ids as they are typed.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, runtime::fuzz::typed));
