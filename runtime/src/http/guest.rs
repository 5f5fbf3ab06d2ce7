//! What goes on inside a guest: programs, terminals, the serial console, its log, its metrics. Owns the frames on the wire; the session with
//! the agent belongs to the VM's actor.

mod connect;
mod console;
mod exec;
mod logs;
mod metrics;
mod outside;
mod sampler;
mod terminal;

pub use connect::Seats;
pub use sampler::Samplers;

use super::{edge::Edge, problem::Refusal, stream};
use api::guest::ErrorCode;
use axum::{
    extract::WebSocketUpgrade,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use host::guest::{GuestFault, Port};
use utoipa_axum::router::OpenApiRouter;

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        .merge(connect::routes())
        .merge(exec::routes())
        .merge(terminal::routes())
        .merge(console::routes())
        .merge(logs::routes())
        .merge(metrics::routes())
        .merge(outside::routes())
}

impl From<GuestFault> for Refusal {
    fn from(fault: GuestFault) -> Refusal {
        let text = fault.to_string();
        let plain = |status, code: &str, hint: &str| Refusal::new(status, code, text.clone()).hint(hint);
        let away = || {
            plain(StatusCode::SERVICE_UNAVAILABLE, "guest-unavailable", "try again, or look at the VM's logs")
                .retry_after(super::problem::RETRY_AFTER_S)
        };
        match &fault {
            GuestFault::NoHello { .. } | GuestFault::Timeout { .. } => away(),
            GuestFault::Closed | GuestFault::AgentRestarted | GuestFault::Broken { .. } => away(),
            GuestFault::TooOld { .. } => plain(StatusCode::CONFLICT, "agent-too-old", "reboot the VM"),
            GuestFault::NobodyListens { port } => plain(
                StatusCode::CONFLICT,
                "nobody-listens",
                match port {
                    Port::Tcp(_) => "start the service in the guest; it must listen on 127.0.0.1 or on all addresses",
                    Port::Vsock(_) => "start the service in the guest; it must listen on its vsock, with any CID",
                },
            ),
            GuestFault::Reset { .. } => plain(StatusCode::BAD_GATEWAY, "guest-failed", "connect again"),
            GuestFault::Unreachable { .. } => away(),
            GuestFault::TooLarge { .. } => {
                plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "shorten the command or its environment")
            }
            GuestFault::Protocol { .. } => plain(StatusCode::BAD_GATEWAY, "agent-protocol", "reboot the VM, and report this"),
            GuestFault::Refused(error) => match error.code {
                ErrorCode::NotFound => plain(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "program-not-found",
                    "name a program and a folder that are in the guest",
                ),
                ErrorCode::PermissionDenied => {
                    plain(StatusCode::UNPROCESSABLE_ENTITY, "not-executable", "the guest's own rights forbid it")
                }
                ErrorCode::InvalidRequest => plain(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "change the request"),
                ErrorCode::Unsupported => plain(
                    StatusCode::CONFLICT,
                    "guest-unsupported",
                    "this guest's agent can't do it; a reboot brings the newest agent",
                ),
                ErrorCode::Busy | ErrorCode::NoSession => away(),
                _ => plain(StatusCode::BAD_GATEWAY, "guest-failed", "look at the VM's logs"),
            },
        }
    }
}

/// A browser can't read the answer to a failed upgrade, only a close frame: to one (it is known by the subprotocol) the refusal is told in
/// that, with 4000 and the HTTP status as its code.
fn refuse(upgrade: WebSocketUpgrade, refusal: Refusal) -> Response {
    if upgrade.selected_protocol().is_none() {
        return refusal.into_response();
    }
    upgrade.on_upgrade(async move |socket| {
        let (sender, mut receiver) = stream::halves(socket);
        sender.close(&mut receiver, 4000 + refusal.status().as_u16(), &refusal.problem().detail).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_agent_is_told_with_what_to_do() {
        let refusal = Refusal::from(GuestFault::TooOld { request: "connect", settled: 1 });
        let problem = refusal.problem();
        let told = (refusal.status().as_u16(), problem.code.as_str(), problem.hint.as_str());
        assert_eq!(told, (409, "agent-too-old", "reboot the VM"));
    }
}
