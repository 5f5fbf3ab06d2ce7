//! The server's log: to stderr, one line an entry, for people or, with HEARTH_LOG_FORMAT=json, for programs. HEARTH_LOG filters it.

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

const FILTER: &str = "HEARTH_LOG";
/// ractor keeps a span open for each actor for as long as it lives, which says nothing that our own entries do not. What HEARTH_LOG says
/// comes after it and counts.
const QUIET: &str = "ractor=warn";
const FORMAT: &str = "HEARTH_LOG_FORMAT";

/// To be called once; a second call (tests in one process) changes nothing.
pub fn init() {
    let wanted = std::env::var(FILTER).unwrap_or_default();
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(format!("{QUIET},{wanted}"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let json = std::env::var(FORMAT).is_ok_and(|format| format == "json");
    let started = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    if started.is_err() {
        tracing::debug!("the log was set up before");
    }
}
