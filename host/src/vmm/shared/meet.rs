//! Settling hello with a guest's agent on a stream that a driver brings about. Owns the order: the older session ends, the new one is the
//! machine's, and all is over when the machine is.

use super::super::VmmError;
use super::layout::short_or;
use super::run::Run;
use crate::guest::{Guest, GuestFault, GuestSession};
use std::{io, os::unix::net::UnixStream, sync::Arc, time::Duration};
use tokio::time::Instant;

/// An agent that is there answers within a second, the pause between two hellos.
const PATIENCE_FIRST: Duration = Duration::from_secs(3);

/// A session with the agent within `deadline`, which counts from the call on. `stream`: the connection with it, once there is one.
pub async fn meet(
    run: &Run,
    stream: impl Future<Output = Result<UnixStream, VmmError>>,
    deadline: Duration,
) -> Result<Arc<dyn GuestSession>, VmmError> {
    run.replace_session(None);
    let until = Instant::now() + deadline;
    let session = async {
        let stream = stream.await?;
        run.replace_session(Some(stream.try_clone().map_err(failed)?));
        let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
        match Guest::connect(stream, until.saturating_duration_since(Instant::now())).await {
            Ok(guest) => {
                let guest: Arc<dyn GuestSession> = Arc::new(guest);
                run.met(&guest);
                Ok(guest)
            }
            Err(GuestFault::NoHello { .. }) => Err(late(deadline)),
            Err(fault) => Err(VmmError::Refused { call: "hello", detail: fault.to_string() }),
        }
    };
    tokio::select! {
        session = session => session,
        _exit = run.exited() => Err(VmmError::Gone),
    }
}

/// As [`meet`], by a way that may be deaf from its beginning: it is begun anew now and then, with more patience each time, for a busy machine
/// needs it.
///
/// QEMU's port is so when a session ended while the VM stood: it looks at its socket's end only while the VM runs (`virtconsole_enable_backend`),
/// so the guest is not told, and what it says before somebody else has connected stops the port until a connection ends again.
pub async fn meet_anew(
    run: &Run,
    connect: impl Fn() -> io::Result<UnixStream>,
    deadline: Duration,
) -> Result<Arc<dyn GuestSession>, VmmError> {
    let until = Instant::now() + deadline;
    let mut patience = PATIENCE_FIRST;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match meet(run, async { connect().map_err(failed) }, patience.min(left)).await {
            Err(VmmError::Timeout { .. }) if left > patience => patience *= 2,
            Err(VmmError::Timeout { .. }) => return Err(late(deadline)),
            met => return met,
        }
    }
}

/// The way to the agent is not as it should be.
pub fn failed(error: io::Error) -> VmmError {
    short_or(&error, VmmError::Refused { call: "agent", detail: error.to_string() })
}

/// The agent said nothing in that time.
pub fn late(after: Duration) -> VmmError {
    VmmError::Timeout { call: "hello", after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
}
