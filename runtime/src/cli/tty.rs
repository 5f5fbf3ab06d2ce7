//! The local terminal: raw mode that always ends, its size, and standard input as a stream.
//!
//! Raw mode is undone when its guard is dropped (every return, every panic that unwinds) and by the panic hook before the message is
//! printed. Signals that end a process do not drop anything: the loops that hold a guard listen for them ([`Ending`]).

use super::error::CliError;
use api::v1::Resize;
use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::Read;
use std::sync::{Mutex, Once, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// One read of standard input; a paste is larger and comes in several.
const READ_BYTES: usize = 16 * 1024;
/// Reads that wait for the network; then reading waits, and the keyboard with it.
const READ_QUEUE: usize = 16;

/// The terminal as it was, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// While it lives, the terminal of stdin is raw: every key goes to the guest.
pub struct Raw(());

impl Raw {
    /// `None` when stdin is no terminal.
    pub fn enter() -> Result<Option<Raw>, CliError> {
        let stdin = std::io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let cannot =
            |error: rustix::io::Errno| CliError::Io { what: "cannot switch the terminal to raw mode", source: error.into() };
        let before = tcgetattr(&stdin).map_err(cannot)?;
        HOOK.call_once(|| {
            let told = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                told(panic);
            }));
        });
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before.clone());
        let guard = Raw(());
        let mut raw = before;
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(cannot)?;
        Ok(Some(guard))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// The size of the terminal of stdout, or of stdin if stdout goes elsewhere.
pub fn size() -> Option<Resize> {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_no_terminal| tcgetwinsize(std::io::stdin())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Resize { cols: size.ws_col, rows: size.ws_row })
}

/// What arrives on standard input; the channel closes at its end.
///
/// A thread of its own, because a read of a terminal cannot be given up; it ends with the process.
pub fn stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(READ_QUEUE);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_unreadable) => return,
            }
        }
    });
    receiver
}

/// The signals that end this process, and the one that tells of a new size.
pub struct Ending {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    resize: Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The number of a signal that ends.
    End(u8),
    Resize,
}

impl Ending {
    pub fn listen() -> Result<Ending, CliError> {
        let listen = |kind| signal(kind).map_err(|source| CliError::Io { what: "cannot listen for signals", source });
        Ok(Ending {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            resize: listen(SignalKind::window_change())?,
        })
    }

    /// Cancel: nothing is lost.
    pub async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.interrupt.recv() => Heard::End(2),
            _ = self.terminate.recv() => Heard::End(15),
            _ = self.hang_up.recv() => Heard::End(1),
            _ = self.resize.recv() => Heard::Resize,
        }
    }
}

/// What a process that ended by a signal answers to its shell.
pub fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX)
}

/// The exit code that tells how a program in the guest ended.
pub fn code_of(exit: api::v1::Exit) -> u8 {
    match (exit.code, exit.signal) {
        // As the kernel does: the low eight bits.
        (Some(code), _) => (code & 0xff) as u8,
        (None, Some(signal)) => code_of_signal(signal),
        (None, None) => super::error::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::Exit;

    #[test]
    fn exits_become_codes() {
        let exit = |code, signal| code_of(Exit { code, signal });
        assert_eq!((exit(Some(0), None), exit(Some(7), None), exit(Some(256), None)), (0, 7, 0));
        assert_eq!((exit(None, Some(9)), exit(None, Some(15)), exit(None, None)), (137, 143, 1));
    }
}
