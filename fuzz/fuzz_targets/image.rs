//! Files that are said to be kernels, root file systems or initramfs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::bounded(input, host::fuzz::image));
