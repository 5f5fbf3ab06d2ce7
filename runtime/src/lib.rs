//! The binary `hearth` as a library: server edge and command line. The only crate that knows HTTP.

pub mod assemble;
pub mod auth;
pub mod cli;
pub mod deliver;
pub mod embed;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod http;
pub mod password;
pub mod telemetry;
pub mod up;
