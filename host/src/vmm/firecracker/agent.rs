//! The way to a guest's agent: a connection to its port of the guest's vsock, once somebody listens there.

use super::super::{
    VmmError,
    shared::{
        layout::is_short,
        meet::{failed, late},
    },
};
use super::door::Door;
use super::files::VSOCK_SOCKET;
use super::vsock::{self, VsockError};
use super::{AGAIN, Firecracker};
use ::api::guest::VSOCK_PORT;
use domain::VmId;
use std::{os::unix::net::UnixStream, time::Duration};
use tokio::time::Instant;

/// An agent that is not there within the first second may be minutes away, and asking costs a connection.
const SELDOM: Duration = Duration::from_millis(250);

impl Firecracker {
    /// A connection to the agent, once it listens.
    pub(super) async fn agent(&self, vm: VmId, until: Instant) -> Result<UnixStream, VmmError> {
        let room = self.inner.room(vm);
        let (from, mut again) = (Instant::now(), AGAIN);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late(until - from));
            }
            let connected = match Door::open(&room, VSOCK_SOCKET) {
                Ok(door) => vsock::connect(&door.path(), VSOCK_PORT, left).await,
                Err(error) => Err(VsockError::Unreachable(error)),
            };
            match connected {
                Ok(stream) => return stream.into_std().map_err(failed),
                Err(VsockError::Unreachable(error)) if is_short(&error) => {
                    return Err(VmmError::Short { detail: error.to_string() });
                }
                Err(VsockError::Unreachable(_) | VsockError::NobodyListens { .. }) => {
                    tokio::time::sleep(again.min(until.saturating_duration_since(Instant::now()))).await;
                    again = (again * 2).min(SELDOM);
                }
                Err(VsockError::Timeout { .. }) => return Err(late(until - from)),
                Err(error @ VsockError::Garbled { .. }) => {
                    return Err(VmmError::Refused { call: "agent", detail: error.to_string() });
                }
            }
        }
    }
}
