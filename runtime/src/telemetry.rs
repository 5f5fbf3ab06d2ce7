//! The server's log: to stderr, one line an entry, for people or, with HEARTH_LOG_FORMAT=json, for programs. HEARTH_LOG filters it.

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

const FILTER: &str = "HEARTH_LOG";
const FORMAT: &str = "HEARTH_LOG_FORMAT";

/// To be called once; a second call (tests in one process) changes nothing.
pub fn init() {
    let filter = EnvFilter::builder().with_env_var(FILTER).with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let json = std::env::var(FORMAT).is_ok_and(|format| format == "json");
    let started = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    if started.is_err() {
        tracing::debug!("the log was set up before");
    }
}
