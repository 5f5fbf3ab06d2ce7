//! `/v1/images`: kernels and root file systems.

use super::{
    accepted::{Done, Shown, command, read},
    command::unprocessable,
    convert,
    edge::{Edge, Serving},
    input::{ListQuery, Reference, Submission, cursor},
    layer::Caller,
    problem::{Answer, Refusal},
    vms::{labels, name, project},
};
use actors::{Accepted, ImageCommand, NewImage};
use api::v1;
use axum::{Json, http::HeaderMap};
use domain::{
    ImageId, Name,
    event::Kind,
    image::{Image, ImageKind, ImageSpec},
};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

const STATES: [&str; 4] = ["importing", "ready", "failed", "deleting"];
/// As many ids as `used_by` names.
const USERS_SHOWN: usize = 100;
/// The kernel's PATH_MAX.
const PATH_MAX: usize = 4096;
const DESCRIPTION_MAX: usize = 1024;

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

pub fn shown(serving: &Serving, record: &Image) -> v1::Image {
    let (count, first) = serving.node.users_of(record.id, USERS_SHOWN);
    convert::image(record, (count as u64, first.iter().map(ToString::to_string).collect()))
}

fn find(serving: &Serving, reference: &str) -> Answer<Arc<Image>> {
    let view = serving.node.view();
    let id = match reference.parse::<ImageId>() {
        Ok(id) => Some(id),
        Err(_) => reference.parse::<Name>().ok().and_then(|name| view.find_image(&project(None).ok()?, &name)),
    };
    id.and_then(|id| view.image(id)).ok_or_else(|| Refusal::not_found("image", reference))
}

/// Lists images, oldest first.
#[utoipa::path(get, path = "/v1/images", tag = "images", params(super::openapi::ListParams), responses((status = 200, body = v1::List<v1::Image>)))]
async fn list(serving: Serving, query: ListQuery) -> Answer<Json<v1::List<v1::Image>>> {
    let Some(page) = query.page(&STATES, false)? else { return Ok(Json(v1::List { items: Vec::new(), next_cursor: None })) };
    let (rows, more) = serving.node.view().images(&page);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(row.id));
    Ok(Json(v1::List { items: rows.iter().map(|row| shown(&serving, row)).collect(), next_cursor }))
}

/// Imports an image from a path on the host.
#[utoipa::path(post, path = "/v1/images", tag = "images", params(super::openapi::PostParams), request_body = v1::CreateImage,
    responses((status = 202, body = v1::Image, headers(("Location", description = "the operation"), ("ETag"))), (status = 200, body = v1::Image)))]
async fn create(serving: Serving, caller: Caller, submission: Submission) -> Answer {
    let work = async {
        submission.creates()?;
        let wanted: v1::CreateImage = submission.json()?;
        let new = NewImage {
            name: name(&wanted.name)?,
            project: project(wanted.project.as_deref())?,
            labels: labels(wanted.labels)?,
            spec: spec(wanted.spec)?,
        };
        Ok(done(&serving, serving.node.create_image(new, submission.who(caller)).await?))
    };
    command(&serving, &submission, work).await
}

/// Reads an image, by id or name.
#[utoipa::path(get, path = "/v1/images/{id}", tag = "images", params(super::openapi::IdParam), responses((status = 200, body = v1::Image, headers(("ETag")))))]
async fn get(serving: Serving, Reference(id): Reference, headers: HeaderMap) -> Answer {
    let image = find(&serving, &id)?;
    Ok(read(&headers, image.generation.0, &shown(&serving, &image)))
}

/// Changes an image's name, labels, description, or whether a kernel is the default.
#[utoipa::path(patch, path = "/v1/images/{id}", tag = "images", params(super::openapi::IdParam, super::openapi::ChangeParams), request_body = v1::PatchImage,
    responses((status = 200, body = v1::Image, headers(("ETag")))))]
async fn update(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let wanted: v1::PatchImage = submission.json()?;
    if let Some(text) = &wanted.description {
        description(text, "description")?;
    }
    let change = ImageCommand::Update {
        name: wanted.name.as_deref().map(name).transpose()?,
        labels: wanted.labels.map(labels).transpose()?,
        default: wanted.default,
        description: wanted.description.map(|text| Some(text).filter(|text| !text.is_empty())),
    };
    order(serving, caller, &id, &submission, change).await
}

/// Deletes an image that no VM boots from.
#[utoipa::path(delete, path = "/v1/images/{id}", tag = "images", params(super::openapi::IdParam, super::openapi::ChangeParams),
    responses((status = 202, body = v1::Image, headers(("Location", description = "the operation"))), (status = 200, body = v1::Image)))]
async fn delete(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, ImageCommand::Delete).await
}

async fn order(serving: Serving, caller: Caller, reference: &str, submission: &Submission, wanted: ImageCommand) -> Answer {
    let work = async {
        let id = find(&serving, reference)?.id;
        Ok(done(&serving, serving.node.command_image(id, wanted, submission.who(caller)).await?))
    };
    command(&serving, submission, work).await
}

fn done(serving: &Serving, accepted: Accepted<Arc<Image>>) -> Done {
    let record = accepted.resource;
    Done {
        kind: Kind::Image,
        id: record.id.to_string(),
        operation: accepted.operation,
        shown: Shown::of(record.generation.0, &shown(serving, &record)),
    }
}

fn spec(spec: v1::ImageSpec) -> Answer<ImageSpec> {
    let kind = match spec.kind {
        v1::ImageKind::Kernel => ImageKind::Kernel,
        v1::ImageKind::Rootfs => ImageKind::Rootfs,
        later @ (v1::ImageKind::Oci | v1::ImageKind::Disk | v1::ImageKind::Iso) => {
            let detail = format!("images of kind {} are not in this version", later.as_str());
            return Err(unprocessable("kind-unsupported", "spec.kind", &detail).hint("use kernel or rootfs"));
        }
    };
    path("spec.path", &spec.path)?;
    if let Some(initrd) = &spec.initrd {
        path("spec.initrd", initrd)?;
        if kind != ImageKind::Kernel {
            return Err(unprocessable("invalid-spec", "spec.initrd", "only a kernel has an initramfs"));
        }
    }
    if spec.default && kind != ImageKind::Kernel {
        return Err(unprocessable("not-a-kernel", "spec.default", "only a kernel can be the default kernel"));
    }
    if let Some(text) = &spec.description {
        description(text, "spec.description")?;
    }
    Ok(ImageSpec { kind, path: spec.path, initrd: spec.initrd, default: spec.default, description: spec.description })
}

fn path(field: &str, path: &str) -> Answer<()> {
    let detail = if !path.starts_with('/') {
        "must be an absolute path on the host"
    } else if path.len() > PATH_MAX || path.contains('\0') {
        "is no path of this system"
    } else {
        return Ok(());
    };
    Err(unprocessable("invalid-path", field, detail))
}

fn description(text: &str, field: &str) -> Answer<()> {
    if text.len() <= DESCRIPTION_MAX && !text.chars().any(|c| c.is_control() && c != '\n') {
        return Ok(());
    }
    Err(unprocessable("invalid-description", field, &format!("at most {DESCRIPTION_MAX} bytes and no control characters")))
}
