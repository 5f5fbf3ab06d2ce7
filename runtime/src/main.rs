//! The binary `hearth`. All of it is in the library.

fn main() -> std::process::ExitCode {
    runtime::cli::main()
}
