//! `hearth version`. Needs no server.

use super::args::Output;
use super::error::CliError;
use super::output;

pub fn run(format: Output) -> Result<(), CliError> {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        Output::Table => output::line(&format!("hearth {version}")),
        Output::Json => output::json(&serde_json::json!({ "version": version })),
    }
}
