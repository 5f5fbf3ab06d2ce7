//! Asking a Firecracker on its API which phase it is in, and what an error of it means to whoever asked.

use super::super::{VmmError, shared::layout};
use super::api::{ApiError, Configuring, Found, Microvm, Socket};
use super::door::{Arrivals, Door};
use super::files::API_SOCKET;
use super::{AGAIN, Firecracker};
use domain::{VmId, vm::Machine};
use std::time::Duration;
use tokio::time::Instant;

/// How long an adopted process may take to open its API: it was let go a moment before hearth died.
pub const ADOPT_DEADLINE: Duration = Duration::from_secs(5);

impl Firecracker {
    /// The phase that the process is in, with its handle. Waits for a process that has not opened its API yet.
    pub(super) async fn at(&self, vm: VmId) -> Result<(Door, Found), VmmError> {
        let (room, deadline) = (self.inner.room(vm), Instant::now() + ADOPT_DEADLINE);
        loop {
            let found = match Door::open(&room, API_SOCKET) {
                Ok(door) => Found::at(Socket::new(door.path())).await.map(|found| (door, found)),
                Err(error) => Err(ApiError::Unreachable(error)),
            };
            match found {
                Err(ApiError::Unreachable(_)) if Instant::now() < deadline => {
                    let _news = Arrivals::of(&room).next(deadline.min(Instant::now() + AGAIN)).await;
                }
                found => return found.map_err(call_error),
            }
        }
    }

    /// As [`Self::at`], of a machine that was released; gives up when it ends.
    pub(super) async fn found(&self, vm: VmId, machine: &Machine, call: &'static str) -> Result<(Door, Found), VmmError> {
        let run = self.runs.released(vm, machine, call)?;
        tokio::select! {
            found = self.at(vm) => found,
            _exit = run.exited() => Err(VmmError::Gone),
        }
    }
}

/// What failed, by what the caller can do about it.
pub fn call_error(error: ApiError) -> VmmError {
    match error {
        ApiError::Unreachable(source) => layout::short_or(&source, VmmError::Gone),
        ApiError::Closed { .. } => VmmError::Gone,
        ApiError::Timeout { call, after_ms } => VmmError::Timeout { call, after_ms },
        ApiError::Refused { call, fault } => VmmError::Refused { call, detail: fault },
        ApiError::Garbled { call, detail } => VmmError::Refused { call, detail: format!("its answer is none: {detail}") },
        ApiError::Invalid(invalid) => VmmError::Refused { call: "configuration", detail: invalid.to_string() },
    }
}

/// Of a guest that can't be asked this yet.
pub fn not_started(call: &'static str, _machine: &Microvm<Configuring>) -> VmmError {
    VmmError::Refused { call, detail: "its guest was not started yet".into() }
}
