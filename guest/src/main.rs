//! The binary; everything is in the library, so that its parsers can be fuzzed.

fn main() -> std::process::ExitCode {
    agent::run()
}
