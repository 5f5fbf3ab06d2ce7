//! Whether a guest really boots: a kernel is started without a root, and says at the end of its initialisation that it misses it. Owns the try,
//! the waiting and the sign; how a VMM is called for it, and what follows from the outcome, is its driver's.
//!
//! A KVM that is there and does not run guests (a VM in a VM without help of the hardware) answers every call of a VMM well while its guest
//! stands still: only a guest that prints something tells. One that is only slow goes on printing, so it is silence that is waited for, and
//! not the end of a time in which a guest on working hardware would have booted.

use nix::libc;
use std::{
    io,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

/// One that stands still says nothing at all; one that is only slow goes on printing: in a KVM under software emulation, on a busy machine, it
/// took up to 15 s with pauses of up to 2.7 s (measured). On working hardware it has looked for its root after 0.3 s.
pub const PATIENCE: Patience = Patience { silent: Duration::from_secs(5), in_all: Duration::from_secs(30) };
/// How long one that ended may take to hand over its last words.
const WORDS_WITHIN: Duration = Duration::from_secs(1);
/// More than it says before it gives up.
const MOST_WORDS: u64 = 4096;
/// More than a kernel prints until it looks for its root.
const MOST_CONSOLE: usize = 256 * 1024;
/// Only a kernel that has run all its initialisation says this: it has no root to mount.
const SIGN: &[u8] = b"Unable to mount root fs";

/// How long a guest may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without a word.
    pub silent: Duration,
    pub in_all: Duration,
}

/// The outcome, for the caller to keep: it holds until the machine, its kernel or the VMM changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    pub works: bool,
    /// A sentence, for people.
    pub reason: String,
}

impl Verdict {
    pub fn no(reason: impl Into<String>) -> Self {
        Self { works: false, reason: reason.into() }
    }
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A guest boots.
    Seen,
    /// The VMM ended before.
    Ended,
    /// Nothing was printed for that long.
    Silence(Duration),
    /// It printed to the end, and the sign was not in it.
    Late(Duration),
}

/// What a try has shown.
#[derive(Debug)]
pub struct Tried {
    pub sign: Sign,
    pub after: Duration,
    /// What was printed on standard output, where the guest's console must be.
    pub console: Vec<u8>,
    /// Of one that ended: what it said on standard error.
    pub words: Vec<u8>,
}

/// Starts the VMM and waits for its guest's sign: well under a second where all is well, five where a guest stands still, thirty at most. Leaves
/// no process, whatever ends the try; hearth's own end by `kill -9` too. Cancel: a dropped call ends the process.
///
/// Errors: it can't be started.
pub async fn boot(mut command: Command, patience: Patience) -> io::Result<Tried> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    ends_with_us(&mut command);
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let tried = watch(&mut child, begun, patience).await;
    // Ends and reaps it; one that ended by itself is reaped all the same.
    let _ended = child.kill().await;
    tried
}

/// A guest that hangs would go on for ever if hearth were killed in the middle of the test. The signal comes when the thread that starts it
/// ends: that of a runtime, as here, ends with the process.
#[allow(unsafe_code)]
fn ends_with_us(command: &mut Command) {
    let us = std::process::id();
    let die_with_parent = move || {
        // SAFETY: two system calls on integers, which are safe between fork and exec.
        let gone = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 || libc::getppid().cast_unsigned() != us };
        if gone { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(die_with_parent) };
}

async fn watch(child: &mut Child, begun: Instant, patience: Patience) -> io::Result<Tried> {
    let (Some(mut output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("it has no console"));
    };
    let mut console = Vec::new();
    let sign = wait_for_sign(&mut output, &mut console, patience).await;
    let after = begun.elapsed();
    let mut words = Vec::new();
    if sign == Sign::Ended {
        let _partial = timeout(WORDS_WITHIN, errors.take(MOST_WORDS).read_to_end(&mut words)).await;
    }
    Ok(Tried { sign, after, console, words })
}

async fn wait_for_sign(output: &mut (impl AsyncRead + Unpin), seen: &mut Vec<u8>, patience: Patience) -> Sign {
    let signed = timeout(patience.in_all, async {
        let mut buffer = [0; 4096];
        loop {
            match timeout(patience.silent, output.read(&mut buffer)).await {
                Err(_) => return Sign::Silence(patience.silent),
                Ok(Ok(read)) if read > 0 && seen.len() < MOST_CONSOLE => {
                    seen.extend_from_slice(buffer.get(..read).unwrap_or_default());
                }
                Ok(_) => return Sign::Ended,
            }
            if seen.windows(SIGN.len()).any(|window| window == SIGN) {
                return Sign::Seen;
            }
        }
    });
    signed.await.unwrap_or(Sign::Late(patience.in_all))
}

#[cfg(test)]
pub mod tests;
