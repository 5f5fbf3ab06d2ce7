//! The binary `hearth`. All of it is in the library.

/// A server's memory is millions of small things of a few sizes that come and go on every thread: docs/adr/0015.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    runtime::cli::main()
}
