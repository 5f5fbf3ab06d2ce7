//! `vm logs`: what the guest wrote to its serial console, byte by byte.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output;
use api::client::LogsQuery;
use clap::Args;

/// Of a log without an end only so much is kept while its last lines are looked for.
const TAIL_BYTES: usize = 8 << 20;

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Name or id
    vm: String,
    /// Go on with what it writes now
    #[arg(short, long)]
    follow: bool,
    /// Before each line, when hearth first saw it (< before that, - unknown)
    #[arg(short, long)]
    timestamps: bool,
    /// Only what was seen since then: a time in RFC 3339, or so long ago
    #[arg(long, value_name = "TIME|10m")]
    since: Option<String>,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES", conflicts_with = "follow")]
    tail: Option<usize>,
}

pub async fn run(context: &Context, args: &LogsArgs) -> Result<(), CliError> {
    let query = LogsQuery { follow: args.follow, timestamps: args.timestamps, since: args.since.clone() };
    let mut logs = context.client.logs_of(&args.vm, &query).await.map_err(|error| context.explain(error, None))?;
    let mut kept = Vec::new();
    while let Some(bytes) = logs.next().await.map_err(|error| context.explain(error, None))? {
        if args.tail.is_none() {
            output::bytes(&bytes)?;
            continue;
        }
        kept.extend_from_slice(&bytes);
        if kept.len() > 2 * TAIL_BYTES {
            kept.drain(..kept.len() - TAIL_BYTES);
        }
    }
    match args.tail {
        Some(lines) => output::bytes(last_lines(&kept, lines)),
        None => Ok(()),
    }
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    if lines == 0 {
        return &[];
    }
    // A line break at the very end closes the last line, it does not begin another.
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let start = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').nth(lines - 1).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn the_last_lines() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"c");
        assert_eq!(last_lines(b"a\n", 5), b"a\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
        assert_eq!(last_lines(b"", 3), b"");
    }
}
