//! Writing to stdout: text, tables, JSON. A reader who left is no failure.

use super::error::CliError;
use super::style;
use super::table::Table;
use serde::Serialize;
use std::io::{ErrorKind, Write};

pub fn text(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

pub fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|source| match source.kind() {
        ErrorKind::BrokenPipe => CliError::Pipe,
        _ => CliError::Io { what: "cannot write the output", source },
    })
}

pub fn line(line: &str) -> Result<(), CliError> {
    text(&format!("{}\n", style::harmless(line)))
}

pub fn table(table: &Table) -> Result<(), CliError> {
    let stdout = std::io::stdout();
    text(&table.render(style::width(&stdout), style::wants_colour(&stdout)))
}

/// Indented: for one document.
pub fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let mut document = serde_json::to_string_pretty(value).expect("api types always serialise");
    document.push('\n');
    text(&document)
}

/// One object a line: for streams.
pub fn json_line<T: Serialize>(value: &T) -> Result<(), CliError> {
    let mut document = serde_json::to_string(value).expect("api types always serialise");
    document.push('\n');
    text(&document)
}

/// A remark for people, on stderr.
pub fn note(note: &str) {
    let mut stderr = std::io::stderr().lock();
    // Without a stderr there is nobody to tell.
    let _ = stderr.write_all(format!("{}\n", style::harmless(note)).as_bytes());
}
