//! `vm exec`: a program in the guest, its streams joined to ours.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::filter::parse_label;
use crate::cli::output;
use crate::cli::tty::{self, Ending, Heard, Raw, code_of, code_of_signal};
use api::client::{ExecEvent, ExecInput, ExecStream};
use api::v1::{ExecRequest, Resize};
use clap::Args;
use rustix::termios::isatty;
use std::io::Write;

pub const EXAMPLES: &str = "\
Without -i, -t or their opposites: a terminal is asked for when stdin and stdout are one; input is passed on, unless it is a
terminal and the program has none.

Ends with the program's exit code; 128+N if a signal ended it; 127 if it was not found, 126 if it could not be run;
1 if hearth could not do it, with the reason on stderr.
Ctrl-C goes to the program; a second one ends the waiting.

Examples:
  hearth vm exec demo -- uname -a
  hearth vm exec demo -- sh -c 'ls /proc | wc -l'
  tar c . | hearth vm exec demo -- tar x -C /root";

/// Of a terminal that does not know its size.
const USUAL_SIZE: Resize = Resize { cols: 80, rows: 24 };
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Name or id
    vm: String,
    /// Pass on standard input
    #[arg(short, long, conflicts_with = "no_stdin")]
    interactive: bool,
    /// Run it on a terminal
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// Do not read standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// Do not run it on a terminal
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// A variable of its environment; may be repeated
    #[arg(short, long = "env", value_name = "KEY=VALUE", value_parser = parse_label)]
    env: Vec<(String, String)>,
    /// The directory to run it in
    #[arg(short = 'w', long, value_name = "DIR")]
    cwd: Option<String>,
    /// The program and its arguments, behind `--`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What of the local streams is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streams {
    tty: bool,
    stdin: bool,
}

impl ExecArgs {
    fn streams(&self, stdin_is_tty: bool, stdout_is_tty: bool) -> Streams {
        let tty = self.tty || (!self.no_tty && !self.no_stdin && !self.interactive && stdin_is_tty && stdout_is_tty);
        let stdin = !self.no_stdin && (self.interactive || tty || !stdin_is_tty);
        Streams { tty, stdin }
    }
}

pub async fn run(context: &Context, args: ExecArgs) -> Result<(), CliError> {
    let streams = args.streams(isatty(std::io::stdin()), isatty(std::io::stdout()));
    let request = ExecRequest {
        command: args.command,
        env: args.env.into_iter().collect(),
        cwd: args.cwd,
        tty: streams.tty.then(|| tty::size().unwrap_or(USUAL_SIZE)),
        ..ExecRequest::default()
    };
    let mut ending = Ending::listen()?;
    let stream = context.client.exec_stream(&args.vm, &request).await.map_err(|error| context.explain(error, None))?;
    let raw = if streams.tty && streams.stdin { Raw::enter()? } else { None };
    let code = join(context, stream, streams, &mut ending).await;
    drop(raw);
    match code? {
        0 => Ok(()),
        code => Err(CliError::Told(code)),
    }
}

async fn join(context: &Context, mut stream: ExecStream, streams: Streams, ending: &mut Ending) -> Result<u8, CliError> {
    let input = stream.input();
    let sending = tokio::spawn(pass_on(stream.input(), streams.stdin));
    let mut interrupted = false;
    let code = loop {
        tokio::select! {
            event = stream.next() => match event.map_err(|error| context.explain(error, None)) {
                Ok(Some(ExecEvent::Stdout(bytes))) => if let Err(error) = output::bytes(&bytes) { break Err(error) },
                // Without a stderr there is nobody to tell.
                Ok(Some(ExecEvent::Stderr(bytes))) => { let _ = std::io::stderr().lock().write_all(&bytes); },
                Ok(Some(ExecEvent::Exit(exit))) => break Ok(code_of(exit)),
                Ok(Some(ExecEvent::Error(detail))) => break Err(not_run(detail)),
                Ok(None) => {
                    let reason = "it ended before the program did".to_owned();
                    break Err(context.explain(api::client::ClientError::Lost { url: context.client.base_url().to_owned(), reason }, None));
                }
                Err(error) => break Err(error),
            },
            heard = ending.next() => match heard {
                Heard::End(signal) if interrupted => break Ok(code_of_signal(i32::from(signal))),
                Heard::End(signal) => {
                    interrupted = true;
                    // A lost connection is reported by the reader.
                    let _ = input.signal(i32::from(signal)).await;
                }
                Heard::Resize if streams.tty => if let Some(size) = tty::size() { let _ = input.resize(size).await; },
                Heard::Resize => {}
            },
        }
    };
    sending.abort();
    code
}

async fn pass_on(input: ExecInput, wanted: bool) {
    if wanted {
        let mut typed = tty::stdin();
        while let Some(bytes) = typed.recv().await {
            if input.send(&bytes).await.is_err() {
                return;
            }
        }
    }
    // The reader notices a lost connection and reports it.
    let _ = input.eof().await;
}

/// The shell's convention: 127 for what is not there, 126 for what is there and cannot be run.
fn not_run(detail: String) -> CliError {
    let lower = detail.to_lowercase();
    let code = if lower.contains("not found") || lower.contains("no such file") { NOT_FOUND } else { NOT_RUNNABLE };
    CliError::NotRun { detail, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(interactive: bool, tty: bool, no_stdin: bool, no_tty: bool) -> ExecArgs {
        ExecArgs { vm: "a".into(), interactive, tty, no_stdin, no_tty, env: vec![], cwd: None, command: vec!["x".into()] }
    }

    #[test]
    fn streams_are_what_the_terminal_suggests() {
        let none = args(false, false, false, false);
        assert_eq!(none.streams(true, true), Streams { tty: true, stdin: true });
        assert_eq!(none.streams(true, false), Streams { tty: false, stdin: false });
        assert_eq!(none.streams(false, true), Streams { tty: false, stdin: true });
        assert_eq!(args(true, false, false, false).streams(true, true), Streams { tty: false, stdin: true });
        assert_eq!(args(false, false, true, false).streams(false, false), Streams { tty: false, stdin: false });
        assert_eq!(args(false, true, false, false).streams(false, false), Streams { tty: true, stdin: true });
        assert_eq!(args(false, false, false, true).streams(true, true), Streams { tty: false, stdin: false });
    }

    #[test]
    fn programs_that_are_not_there_are_127() {
        assert_eq!(not_run("nosuch: not found on PATH".into()).exit_code(), 127);
        assert_eq!(not_run("/etc/passwd: permission denied".into()).exit_code(), 126);
    }
}
