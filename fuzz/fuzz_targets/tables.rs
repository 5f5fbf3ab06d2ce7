//! Tables of the guest's kernel and image, and netlink.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, guest::fuzz::tables));
