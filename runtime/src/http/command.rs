//! The one table from what the actors refuse to what the client reads: status, code, detail, hint. Exhaustive on purpose: a new error must
//! be given its words here before it compiles.

use super::problem::{RETRY_AFTER_S, Refusal};
use actors::CommandError;
use axum::http::StatusCode;
use domain::event::Kind;

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Refusal {
        let text = error.to_string();
        let plain = |status, code: &str, hint: &str| Refusal::new(status, code, text.clone()).hint(hint);
        match error {
            CommandError::Vm(refused) => match refused.field() {
                Some(field) => {
                    let status = match refused.is_of_the_moment() {
                        true => StatusCode::CONFLICT,
                        false => StatusCode::UNPROCESSABLE_ENTITY,
                    };
                    plain(status, refused.code(), refused.hint()).with_field(field, refused.to_string())
                }
                None => plain(StatusCode::CONFLICT, refused.code(), refused.hint()),
            },
            CommandError::Image(refused) => image(refused),
            CommandError::Host(refused) => host(refused),
            CommandError::Webhook(refused) => webhook(refused),
            CommandError::Secret { .. } => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "secret-unavailable",
                "look at the folder `secrets` of the data directory, or give the webhook a new secret",
            )
            .retry_after(RETRY_AFTER_S),
            CommandError::NotFound { kind, reference } => Refusal::not_found(kind.as_str(), &reference),
            CommandError::NameTaken { kind, name } => {
                Refusal::new(StatusCode::CONFLICT, "name-taken", format!("there is {} named {name} already", a(kind)))
                    .hint("choose another name, or delete the other one first")
            }
            CommandError::NotCancellable(why) => plain(StatusCode::CONFLICT, why.code(), why.hint()),
            CommandError::Stale { current } => Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "stale",
                format!("the resource has changed: it is at generation {}", current.0),
            )
            .hint("read it again and repeat the change with its new ETag")
            .etag(current.0),
            CommandError::NoCapacity(_) => {
                plain(StatusCode::INSUFFICIENT_STORAGE, "no-capacity", "stop a VM, give this one less memory, or add a host")
            }
            CommandError::HostCordoned => plain(StatusCode::CONFLICT, "host-cordoned", "uncordon the host, or name another one"),
            CommandError::Invalid(problems) => invalid(problems),
            CommandError::UnknownImage { field, reference } => {
                let detail = format!("there is no image {reference}");
                unprocessable("unknown-image", field, &detail).hint("list them with `hearth image ls` or GET /v1/images")
            }
            CommandError::NoDefaultKernel => unprocessable("no-default-kernel", "spec.kernel", &text)
                .hint("name a kernel, or mark one with PATCH /v1/images/KERNEL {\"default\":true}"),
            CommandError::ImageNotReady { field, reference, state } => {
                let detail = format!("the image {reference} is {state}");
                Refusal::new(StatusCode::CONFLICT, "image-not-ready", detail.clone())
                    .with_field(field, detail)
                    .hint("wait until it is ready, or choose another image")
            }
            CommandError::MacTaken { .. } => Refusal::new(StatusCode::CONFLICT, "mac-taken", text.clone())
                .with_field("spec.networks", text)
                .hint("choose another MAC, or leave it out to have one made"),
            CommandError::AddressesExhausted { .. } => {
                plain(StatusCode::INSUFFICIENT_STORAGE, "no-address", "delete VMs, or make one without a network (networks: [])")
            }
            CommandError::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, "busy", "try again").retry_after(RETRY_AFTER_S),
            CommandError::Storage { full: true, .. } => {
                plain(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "make room for the data directory and restart hearth")
            }
            CommandError::Storage { full: false, .. } => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "journal-failed",
                "look at the disk and the server's log, then restart hearth",
            )
            .retry_after(RETRY_AFTER_S),
            CommandError::Timeout => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                "read the resource to see; with the same Idempotency-Key repeating is safe",
            )
            .retry_after(RETRY_AFTER_S),
            CommandError::Restarting => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "restarting",
                "read the resource to see; with the same Idempotency-Key repeating is safe",
            )
            .retry_after(RETRY_AFTER_S),
            CommandError::SetAside { .. } => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "set-aside",
                "look at `hearth node tree` and the server's log, then ask again: each command starts it once more",
            )
            .retry_after(RETRY_AFTER_S),
            CommandError::NoActor { .. } => plain(
                StatusCode::NOT_FOUND,
                "actor-not-found",
                "list them with `hearth node tree --all` or GET /v1/node/tree?all=true",
            ),
            CommandError::GuestUnavailable { .. } => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "guest-unavailable",
                "wait until the guest's agent is connected, or look at the VM's logs",
            )
            .retry_after(RETRY_AFTER_S),
            CommandError::Guest(fault) => fault.into(),
            CommandError::Vmm { .. } => {
                plain(StatusCode::BAD_GATEWAY, "vmm-failed", "look at the VM's reason and at the server's log")
            }
            CommandError::Stopping => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "stopping", "try again when the server is back").retry_after(RETRY_AFTER_S)
            }
        }
    }
}

/// 422, naming the field.
pub fn unprocessable(code: &str, field: &str, detail: &str) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, format!("{field}: {detail}")).with_field(field, detail)
}

fn invalid(problems: Vec<domain::vm::spec::SpecProblem>) -> Refusal {
    let all: Vec<String> = problems.iter().map(|problem| format!("{} {}", problem.field, problem.detail)).collect();
    let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-spec", all.join("; "));
    problems.into_iter().fold(refusal, |refusal, problem| refusal.with_field(problem.field, problem.detail))
}

fn image(refused: domain::image::Refused) -> Refusal {
    use domain::image::Refused;
    let (status, code, hint) = match refused {
        Refused::InUse => (StatusCode::CONFLICT, "image-in-use", "delete the VMs in its status.used_by first"),
        Refused::Importing => (StatusCode::CONFLICT, "image-importing", "wait for the import's operation"),
        Refused::Deleting => (StatusCode::CONFLICT, "image-deleting", "wait until it is gone"),
        Refused::NotCancellable(why) => (StatusCode::CONFLICT, why.code(), why.hint()),
        Refused::NotAKernel => (StatusCode::UNPROCESSABLE_ENTITY, "not-a-kernel", "mark an image of kind kernel"),
    };
    Refusal::new(status, code, refused.to_string()).hint(hint)
}

fn host(refused: domain::host::Refused) -> Refusal {
    use domain::host::Refused;
    let code = match refused {
        Refused::AlreadyCordoned => "host-already-cordoned",
        Refused::NotCordoned => "host-not-cordoned",
    };
    Refusal::new(StatusCode::CONFLICT, code, refused.to_string()).hint("nothing needs to be done")
}

fn webhook(refused: domain::webhook::Refused) -> Refusal {
    use domain::webhook::Refused;
    let (status, code, hint) = match refused {
        Refused::Disabled => (StatusCode::CONFLICT, "webhook-disabled", "enable it first: PATCH {\"spec\":{\"enabled\":true}}"),
        Refused::NoSuchLetter => {
            (StatusCode::UNPROCESSABLE_ENTITY, "no-such-dead-letter", "list them: GET /v1/webhooks/ID/dead-letters")
        }
        Refused::TooMany => (StatusCode::INSUFFICIENT_STORAGE, "too-many-webhooks", "delete one, or let one receiver pass on"),
        Refused::CursorAhead => {
            (StatusCode::UNPROCESSABLE_ENTITY, "cursor-ahead", "leave `after` out to begin with what happens from now on")
        }
    };
    Refusal::new(status, code, refused.to_string()).hint(hint)
}

/// How the failure of an operation that somebody waited for is told. Its problem is no bad input: that was refused before the operation.
pub fn operation_status(code: &str) -> StatusCode {
    match code {
        "disk-full" | "no-capacity" => StatusCode::INSUFFICIENT_STORAGE,
        "source-unreadable" | "source-wrong-kind" | "disk-too-small" => StatusCode::UNPROCESSABLE_ENTITY,
        "agent-timeout" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn a(kind: Kind) -> &'static str {
    match kind {
        Kind::Vm => "a VM",
        Kind::Host => "a host",
        Kind::Image => "an image",
        Kind::Operation => "an operation",
        Kind::Webhook => "a webhook",
    }
}
