//! `/v1/vms`: lists, reads, and every command that a VM takes.

mod given;

use super::{
    accepted::{Done, Shown, telling, unchanged},
    convert::{self, devices},
    drives,
    edge::{Edge, Serving},
    input::{ListQuery, Reference, Submission, cursor},
    layer::Caller,
    networks,
    problem::{Answer, Refusal},
    with_etag,
};
use crate::password::Password;
use actors::{Accepted, NewVm, view::VmView};
use api::v1;
use axum::{
    Json,
    http::{HeaderMap, StatusCode},
};
use domain::{
    Labels, Name, VmId,
    event::Kind,
    name::check_labels,
    vm::{Change, Command, Devices, PasswordChange, RestartPolicy, StopMode, Vm, VmSpec},
};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

const STATES: [&str; 13] = [
    "creating",
    "created",
    "starting",
    "running",
    "pausing",
    "paused",
    "resuming",
    "stopping",
    "stopped",
    "snapshotting",
    "restoring",
    "failed",
    "deleting",
];
/// The contract's default for a guest to shut down in.
const STOP_DEADLINE_S: u32 = 30;
const STOP_DEADLINE_MAX_S: u32 = 600;

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(reboot))
}

/// The VM that a path names, by id or by name.
pub fn find(serving: &Serving, reference: &str) -> Answer<VmView> {
    let view = serving.node.view();
    let id = match reference.parse::<VmId>() {
        Ok(id) => Some(id),
        Err(_) => reference.parse::<Name>().ok().and_then(|name| view.find_vm(&project(None).ok()?, &name)),
    };
    id.and_then(|id| view.vm(id)).ok_or_else(|| Refusal::not_found("vm", reference))
}

/// The one project that there is.
pub fn project(wanted: Option<&str>) -> Answer<Name> {
    match wanted {
        None | Some(super::PROJECT) => {
            super::PROJECT.parse().map_err(|_| Refusal::internal("the default project has no valid name"))
        }
        Some(other) => Err(super::command::unprocessable("unknown-project", "project", &format!("there is no project {other}"))
            .hint("the only project so far is default")),
    }
}

/// A name as users may choose it.
pub fn name(text: &str) -> Answer<Name> {
    text.parse().map_err(|error: domain::NameError| {
        super::command::unprocessable("invalid-name", "name", &error.to_string()).hint("a name such as web-1")
    })
}

pub fn labels(labels: Labels) -> Answer<Labels> {
    match check_labels(&labels) {
        Ok(()) => Ok(labels),
        Err(error) => Err(super::command::unprocessable("invalid-labels", "labels", &error.to_string())),
    }
}

/// Lists VMs, oldest first.
#[utoipa::path(get, path = "/v1/vms", tag = "vms", params(super::openapi::ListParams), responses((status = 200, body = v1::List<v1::Vm>)))]
async fn list(serving: Serving, query: ListQuery) -> Answer<Json<v1::List<v1::Vm>>> {
    let Some(page) = query.page(&STATES, false)? else { return Ok(Json(v1::List { items: Vec::new(), next_cursor: None })) };
    let view = serving.node.view();
    let (rows, more) = view.vms(&page);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(row.record.id));
    Ok(Json(v1::List { items: rows.iter().map(|row| convert::vm(row, view)).collect(), next_cursor }))
}

/// Creates a VM, and starts it if that is asked for. With `spec.cloud_init.password` `generate` the answer holds `credentials`, and no other does:
/// not that to a repetition by the Idempotency-Key, and none is told where `wait` ends with the failure of the operation.
#[utoipa::path(post, path = "/v1/vms", tag = "vms", params(super::openapi::PostParams), request_body = v1::CreateVm,
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"), ("ETag"))), (status = 200, body = v1::Vm)))]
async fn create(serving: Serving, caller: Caller, submission: Submission) -> Answer {
    // Read here, judged within: a repetition is answered whatever became of its words.
    let wanted = submission.json::<v1::CreateVm>();
    let made = given::new_password(wanted.as_ref().ok().and_then(|wanted| wanted.spec.cloud_init.as_ref()))?;
    let work = async {
        submission.creates()?;
        let wanted = wanted?;
        let new = NewVm {
            name: wanted.name.as_deref().map(name).transpose()?,
            project: project(wanted.project.as_deref())?,
            labels: labels(wanted.labels)?,
            spec: spec(wanted.spec, made.as_ref())?,
            start: wanted.start,
        };
        Ok(done(&serving, serving.node.create_vm(new, submission.who(caller)).await?))
    };
    telling(&serving, &submission, made.as_ref(), work).await
}

/// Reads a VM, by id or name.
#[utoipa::path(get, path = "/v1/vms/{id}", tag = "vms", params(super::openapi::IdParam), responses((status = 200, body = v1::Vm, headers(("ETag")))))]
async fn get(serving: Serving, Reference(id): Reference, headers: HeaderMap) -> Answer {
    let vm = find(&serving, &id)?;
    // Before the driver is asked: who looks again and again has it mostly. That its VMM holds it is in no generation.
    if vm.hold.is_none()
        && let Some(unchanged) = unchanged(&headers, vm.record.generation.0)
    {
        return Ok(unchanged);
    }
    let mut told = convert::vm(&vm, serving.node.view());
    if let Some(vmm) = &mut told.status.vmm {
        let look = serving.node.confinement(vm.record.id).await;
        vmm.confinement = look.map(|look| convert::confinement(vm.record.id, &look));
    }
    Ok(with_etag(StatusCode::OK, vm.record.generation.0, &told))
}

/// Changes a VM: its name, labels, restart policy, limits, balloon, disks' sizes, metadata and, with `mem_max_mib`, memory; while it does not run, its vCPUs, memory, command line, CPU
/// template, its data drives and its network interfaces; for its next start, what cloud-init is given. A new password is made only until
/// its first start, and told in `credentials` of this answer alone.
#[utoipa::path(patch, path = "/v1/vms/{id}", tag = "vms", params(super::openapi::IdParam, super::openapi::ChangeParams), request_body = v1::PatchVm,
    responses((status = 200, body = v1::Vm, headers(("ETag")))))]
async fn update(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let wanted: v1::PatchVm = submission.json()?;
    let spec = wanted.spec.unwrap_or_default();
    let made = given::new_password(spec.cloud_init.as_ref().and_then(Option::as_ref))?;
    let (cloud_init, password) = match spec.cloud_init {
        Some(Some(words)) => {
            let (cloud_init, password) = given::changed(words, made.as_ref());
            (Some(Some(cloud_init)), password)
        }
        Some(None) => (Some(None), PasswordChange::default()),
        None => (None, PasswordChange::default()),
    };
    let change = Change {
        name: wanted.name.as_deref().map(name).transpose()?,
        labels: wanted.labels.map(labels).transpose()?.map(Box::new),
        restart: spec.restart.map(restart),
        vcpus: spec.vcpus,
        mem_mib: spec.mem_mib,
        mem_max_mib: spec.mem_max_mib,
        cmdline: spec.cmdline.map(|cmdline| Some(cmdline).filter(|cmdline| !cmdline.is_empty())),
        disk_mib: spec.disk_mib,
        drives: drives::changed(spec.drives, spec.remove_drives)?,
        networks: networks::changed(spec.networks)?,
        rate_limits: spec.rate_limits.map(devices::changed_rate_limits).unwrap_or_default(),
        balloon_mib: spec.balloon_mib,
        cpu_template: spec.cpu_template.map(|template| template.map(devices::asked_template)),
        cloud_init,
        password,
        metadata: spec.metadata.map(|given| given.map(given::metadata).transpose()).transpose()?,
    };
    order_telling(serving, caller, &id, &submission, Command::Update(change), made.as_ref()).await
}

/// Deletes a VM with its disk and its data drives. `force` ends it first if it runs.
#[utoipa::path(delete, path = "/v1/vms/{id}", tag = "vms",
    params(super::openapi::IdParam, super::openapi::ChangeParams, ("force" = Option<String>, Query, pattern = "^(|true|false|1|0)$", description = "end it first if it runs")),
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"))), (status = 200, body = v1::Vm)))]
async fn delete(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let force = submission.flag("force")?;
    order(serving, caller, &id, &submission, Command::Delete { force }).await
}

/// Starts a VM.
#[utoipa::path(post, path = "/v1/vms/{id}/start", tag = "vms", params(super::openapi::IdParam, super::openapi::PostParams),
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"))), (status = 200, body = v1::Vm)))]
async fn start(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, Command::Start).await
}

/// Stops a VM: the guest is asked and has until the deadline; `force` ends it at once.
#[utoipa::path(post, path = "/v1/vms/{id}/stop", tag = "vms", params(super::openapi::IdParam, super::openapi::PostParams),
    request_body = Option<v1::StopRequest>,
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"))), (status = 200, body = v1::Vm)))]
async fn stop(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let mode = stop_mode(submission.json_or_default()?)?;
    order(serving, caller, &id, &submission, Command::Stop(mode)).await
}

/// Pauses a running VM.
#[utoipa::path(post, path = "/v1/vms/{id}/pause", tag = "vms", params(super::openapi::IdParam, super::openapi::PostParams),
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"))), (status = 200, body = v1::Vm)))]
async fn pause(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, Command::Pause).await
}

/// Resumes a paused VM.
#[utoipa::path(post, path = "/v1/vms/{id}/resume", tag = "vms", params(super::openapi::IdParam, super::openapi::PostParams),
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"))), (status = 200, body = v1::Vm)))]
async fn resume(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, Command::Resume).await
}

/// Stops a VM and starts it again.
#[utoipa::path(post, path = "/v1/vms/{id}/reboot", tag = "vms", params(super::openapi::IdParam, super::openapi::PostParams),
    request_body = Option<v1::StopRequest>,
    responses((status = 202, body = v1::Vm, headers(("Location", description = "the operation"))), (status = 200, body = v1::Vm)))]
async fn reboot(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let mode = stop_mode(submission.json_or_default()?)?;
    order(serving, caller, &id, &submission, Command::Reboot(mode)).await
}

/// The VM is looked up inside the idempotent part: a repetition is answered even when the name has gone elsewhere.
async fn order(serving: Serving, caller: Caller, reference: &str, submission: &Submission, wanted: Command) -> Answer {
    order_telling(serving, caller, reference, submission, wanted, None).await
}

async fn order_telling(
    serving: Serving,
    caller: Caller,
    reference: &str,
    submission: &Submission,
    wanted: Command,
    made: Option<&Password>,
) -> Answer {
    let work = async {
        let id = find(&serving, reference)?.record.id;
        Ok(done(&serving, serving.node.command_vm(id, wanted, submission.who(caller)).await?))
    };
    telling(&serving, submission, made, work).await
}

fn done(serving: &Serving, accepted: Accepted<Arc<Vm>>) -> Done {
    let record = accepted.resource;
    let view = serving.node.view();
    // Deleted in the meantime, or not shown yet: the record alone says enough.
    let seen = view.vm(record.id).unwrap_or_else(|| VmView { record: record.clone(), agent: None, started_at: None, hold: None });
    Done {
        kind: Kind::Vm,
        id: record.id.to_string(),
        operation: accepted.operation,
        shown: Shown::of(seen.record.generation.0, &convert::vm(&seen, view)),
    }
}

fn stop_mode(request: v1::StopRequest) -> Answer<StopMode> {
    let seconds = request.deadline_s.unwrap_or(STOP_DEADLINE_S);
    if seconds == 0 || seconds > STOP_DEADLINE_MAX_S {
        return Err(super::command::unprocessable(
            "invalid-deadline",
            "deadline_s",
            &format!("must be 1 to {STOP_DEADLINE_MAX_S}, not {seconds}"),
        ));
    }
    Ok(if request.force { StopMode::Force } else { StopMode::Graceful { deadline_ms: u64::from(seconds) * 1000 } })
}

fn spec(spec: v1::VmSpec, made: Option<&Password>) -> Answer<VmSpec> {
    Ok(VmSpec {
        host: spec.host,
        vcpus: spec.vcpus,
        mem_mib: spec.mem_mib,
        kernel: spec.kernel,
        image: spec.image,
        disk_mib: spec.disk_mib,
        cmdline: spec.cmdline.filter(|cmdline| !cmdline.is_empty()),
        networks: networks::asked(spec.networks)?,
        restart: restart(spec.restart),
        devices: Devices {
            rate_limits: devices::asked_rate_limits(spec.rate_limits),
            balloon_mib: spec.balloon_mib,
            cpu_template: spec.cpu_template.map(devices::asked_template),
            cloud_init: spec.cloud_init.map(|words| given::first(words, made)).transpose()?,
            metadata: spec.metadata.map(given::metadata).transpose()?,
            drives: drives::asked(spec.drives)?,
            mem_max_mib: spec.mem_max_mib,
        },
    })
}

fn restart(policy: v1::RestartPolicy) -> RestartPolicy {
    match policy {
        v1::RestartPolicy::Never => RestartPolicy::Never,
        v1::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
        v1::RestartPolicy::Always => RestartPolicy::Always,
    }
}
