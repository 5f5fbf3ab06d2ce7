//! The binary `hearth`. All of it is in the library.

/// Linked in, it takes the place of the C library's `malloc` for the whole process: docs/adr/0015. As Rust's `global_allocator` it would not see
/// that memory is wanted zeroed, and sled's 16 MiB of counters, which nobody reads, would be written once and stay resident.
#[cfg(feature = "jemalloc")]
#[used]
static ALLOCATOR: unsafe extern "C" fn(*mut std::ffi::c_void, usize, std::ffi::c_int) = tikv_jemalloc_sys::sdallocx;

fn main() -> std::process::ExitCode {
    runtime::cli::main()
}
