//! A terminal here joined to one there: `vm shell` and `vm console`.

use super::context::Context;
use super::error::CliError;
use super::tty::{self, Ending, Heard, Raw, code_of, code_of_signal};
use super::{output, style};
use api::client::{Terminal, TerminalEvent, TerminalInput};
use api::v1::Exit;
use bytes::Bytes;
use tokio::sync::mpsc;

pub const SHELL_HELP: &str = "\
Ctrl-] leaves (the shell then ends). Ends with the exit code of the shell.

Examples:
  hearth vm shell demo
  echo 'uptime; exit' | hearth vm shell demo";

pub const CONSOLE_HELP: &str = "\
Ctrl-] leaves; the guest does not notice. `hearth vm logs` prints what it wrote before.

Examples:
  hearth vm console demo
  hearth vm console demo < /dev/null | tee console.log";

/// Ctrl-], as telnet has it.
const LEAVE: u8 = 0x1d;
/// Ctrl-D: what a terminal makes the end of input of.
const END_OF_INPUT: u8 = 0x04;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shell,
    Console,
}

#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// The other end is over.
    Exit(Exit),
    Closed,
    /// Ctrl-].
    Detached,
    Signal(u8),
}

pub async fn shell(context: &Context, vm: &str) -> Result<(), CliError> {
    let terminal = context.client.shell(vm, tty::size()).await.map_err(|error| context.explain(error, None))?;
    end(attach(context, terminal, Kind::Shell).await?)
}

pub async fn console(context: &Context, vm: &str) -> Result<(), CliError> {
    let terminal = context.client.console(vm).await.map_err(|error| context.explain(error, None))?;
    if rustix::termios::isatty(std::io::stdin()) {
        output::note(&format!("attached to the console of {}; Ctrl-] leaves", style::harmless(vm)));
    }
    end(attach(context, terminal, Kind::Console).await?)
}

/// Told after the terminal is itself again.
fn end(left: Left) -> Result<(), CliError> {
    match left {
        Left::Exit(exit) => match code_of(exit) {
            0 => Ok(()),
            code => Err(CliError::Told(code)),
        },
        Left::Closed => Ok(()),
        Left::Detached => {
            output::note("left");
            Ok(())
        }
        Left::Signal(signal) => Err(CliError::Told(code_of_signal(i32::from(signal)))),
    }
}

async fn attach(context: &Context, mut terminal: Terminal, kind: Kind) -> Result<Left, CliError> {
    let mut ending = Ending::listen()?;
    let raw = Raw::enter()?;
    let to_guest = terminal.input();
    let (detached, mut leave) = mpsc::channel(1);
    // Sending has a task of its own: a guest that writes before it reads must not stop our reading.
    let typing = tokio::spawn(type_into(to_guest.clone(), raw.is_some(), kind, detached));
    let left = loop {
        tokio::select! {
            event = terminal.next() => match event.map_err(|error| context.explain(error, None)) {
                Ok(Some(TerminalEvent::Output(bytes))) => if let Err(error) = output::bytes(&bytes) { break Err(error) },
                Ok(Some(TerminalEvent::Exit(exit))) => break Ok(Left::Exit(exit)),
                Ok(None) => break Ok(Left::Closed),
                Err(error) => break Err(error),
            },
            Some(()) = leave.recv() => break Ok(Left::Detached),
            heard = ending.next() => match heard {
                Heard::End(signal) => break Ok(Left::Signal(signal)),
                // A lost connection is reported by the reader.
                Heard::Resize => if let Some(size) = tty::size() { let _ = to_guest.resize(size).await; },
            },
        }
    };
    typing.abort();
    drop(raw);
    left
}

async fn type_into(to_guest: TerminalInput, raw: bool, kind: Kind, detached: mpsc::Sender<()>) {
    let mut typed = tty::stdin();
    while let Some(bytes) = typed.recv().await {
        // Only keys leave: a file that is sent may hold any byte.
        let leave = raw.then(|| bytes.iter().position(|byte| *byte == LEAVE)).flatten();
        let part = leave.map_or(bytes.clone(), |at| bytes.slice(..at));
        if !part.is_empty() && to_guest.send(part).await.is_err() {
            return;
        }
        if leave.is_some() {
            let _ = detached.send(()).await;
            return;
        }
    }
    // Input that came from a file is over: so is the shell, when it has read it all. A console goes on without us.
    if kind == Kind::Shell {
        let _ = to_guest.send(Bytes::from_static(&[END_OF_INPUT])).await;
    }
    // Keeps the channel open: a closed one would look like leaving.
    std::future::pending::<()>().await;
}
