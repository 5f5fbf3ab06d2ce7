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

/// Asking costs a connection, and an agent that is not there yet may be minutes away.
const SELDOM: Duration = Duration::from_millis(250);
/// A guest waits for hearth for no more than this part of the time that it took to boot.
const PART: u32 = 50;

impl Firecracker {
    /// A connection to the agent, once it listens.
    pub(super) async fn agent(&self, vm: VmId, until: Instant) -> Result<UnixStream, VmmError> {
        let room = self.inner.room(vm);
        let from = Instant::now();
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
                    tokio::time::sleep(pause(from.elapsed()).min(until.saturating_duration_since(Instant::now()))).await;
                }
                Err(VsockError::Timeout { .. }) => return Err(late(until - from)),
                Err(error @ VsockError::Garbled { .. }) => {
                    return Err(VmmError::Refused { call: "agent", detail: error.to_string() });
                }
            }
        }
    }
}

/// Before the next try of a guest that has booted for so long.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / PART).clamp(AGAIN, SELDOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_waits_a_fiftieth_of_its_boot_and_is_asked_some_hundred_times_in_a_minute() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(0)), AGAIN);
        assert_eq!(pause(ms(400)), AGAIN);
        assert_eq!(pause(ms(2_000)), ms(40));
        assert_eq!(pause(ms(60_000)), SELDOM);
        let (mut elapsed, mut asked) = (Duration::ZERO, 0);
        while elapsed < ms(60_000) {
            elapsed += pause(elapsed);
            asked += 1;
        }
        assert!((300..500).contains(&asked), "{asked}");
    }
}
