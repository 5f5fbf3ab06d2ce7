//! The way to a port of a guest's vsock, for users: through the same socket as to the agent, whose own port is nobody else's.
//!
//! Firecracker (1.16, `csm/connection.rs`) has no half of a connection: the end of what the host sends ends all of it, and the guest's own end is
//! told only with its close.

use super::{
    Firecracker,
    door::Door,
    files::VSOCK_SOCKET,
    vsock::{self, VsockError},
};
use crate::guest::{Connection, GuestFault, Port};
use ::api::guest::VSOCK_PORT;
use domain::{VmId, vm::Machine};
use std::time::Duration;

impl Firecracker {
    pub(super) async fn port(
        &self,
        vm: VmId,
        machine: &Machine,
        port: u32,
        deadline: Duration,
    ) -> Result<Connection, GuestFault> {
        let unreachable = |detail: String| GuestFault::Unreachable { port: Port::Vsock(port), detail };
        if port == VSOCK_PORT {
            return Err(unreachable("it is the guest agent's".to_owned()));
        }
        let run = self.runs.released(vm, machine, "vsock").map_err(|error| unreachable(error.to_string()))?;
        let door = Door::open(&self.inner.room(vm), VSOCK_SOCKET).map_err(|error| unreachable(error.to_string()))?;
        let stream = vsock::connect(&door.path(), port, deadline).await.map_err(|error| match error {
            VsockError::NobodyListens { .. } => GuestFault::NobodyListens { port: Port::Vsock(port) },
            VsockError::Timeout { after_ms, .. } => GuestFault::Timeout { request: "vsock connection", after_ms },
            VsockError::Unreachable(ref source) => unreachable(source.to_string()),
            VsockError::Garbled { .. } => unreachable(error.to_string()),
        })?;
        Ok(Connection::over(stream, async move { drop(run.exited().await) }))
    }
}
