//! The OpenAPI document: collected from the handlers, completed with what is the same everywhere (errors, the token). `docs/openapi.json`
//! is this document; a test compares them.

mod valid;

use super::{backup, edge::Edge, events, guest, hosts, images, metrics, node, operations, vms, webhooks};
use api::problem::{MEDIA_TYPE, Problem};
use axum::{http::header, response::IntoResponse};
use std::sync::LazyLock;
use utoipa::{
    IntoParams, Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, ResponseBuilder,
        path::{HttpMethod, Operation, Parameter, ParameterIn},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hearth",
        version = "1",
        description = "MicroVMs on Linux: one REST API, one event stream. Anything slower than a request answers 202 with a Location to an \
            operation; `wait` waits for its end. Errors are problem documents (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "vms", description = "microVMs"),
        (name = "guest", description = "inside a microVM: programs, terminals, logs, metrics"),
        (name = "images", description = "kernels and root file systems"),
        (name = "hosts", description = "the machines"),
        (name = "operations", description = "what takes longer than a request"),
        (name = "events", description = "what changed"),
        (name = "webhooks", description = "receivers outside that are sent events"),
        (name = "node", description = "this server"),
        (name = "server", description = "for monitoring"),
    ),
    components(schemas(Problem)),
    modifiers(&Everywhere)
)]
struct Document;

/// The routes that the document describes.
pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(vms::routes())
        .merge(guest::routes())
        .merge(images::routes())
        .merge(hosts::routes())
        .merge(operations::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(node::routes())
        .merge(backup::routes())
        .merge(metrics::routes())
}

/// The document as it is committed: indented, with a final newline.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = routes().into_openapi();
        complete(&mut document);
        valid::make(&mut document);
        let mut text = document.to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text())
}

/// The token.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
        openapi.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    }
}

/// Whether a POST there leaves something which may be gone at its repetition.
fn leaves_something(path: &str) -> bool {
    !path.starts_with("/v1/node/") && !path.ends_with("/exec") && !path.ends_with("/test")
}

/// Each operation's errors. What can't be answered to it is not listed.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let named = path.contains("{id}");
        let methods = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Patch, &mut item.patch),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                let changes = method != HttpMethod::Get;
                errors(operation, named, changes);
                if method == HttpMethod::Post && leaves_something(path) {
                    error(
                        operation,
                        "410",
                        "a request with this Idempotency-Key was carried out, and what it left is gone since",
                    );
                }
            }
        }
    }
}

fn errors(operation: &mut Operation, named: bool, changes: bool) {
    let mut all = vec![
        ("400", "malformed: a field, a query or a header that can't be read"),
        ("401", "no token, or not a valid one"),
        ("500", "a bug in hearth; quote the request's id"),
        ("503", "busy, starting or stopping: Retry-After says when to try again"),
    ];
    if named {
        all.push(("404", "there is none of that id or name"));
        all.push(("409", "refused in this state"));
        all.push(("502", "the VMM or the guest failed"));
    }
    if changes {
        all.extend([
            ("408", "the body did not come in time"),
            ("409", "refused in this state, the name is taken, or the Idempotency-Key was used for another request"),
            ("412", "the ETag in If-Match is not the resource's"),
            ("413", "the body is larger than 1 MiB"),
            ("415", "the body is not JSON"),
            ("422", "well-formed but impossible"),
            ("502", "the operation that was waited for failed"),
            ("504", "the guest did not answer in time"),
            ("507", "no capacity or no space left"),
        ]);
    }
    if operation.responses.responses.contains_key("101") {
        all.push(("426", "this path is a WebSocket"));
        all.push(("406", "this path is a stream"));
    }
    for (status, description) in all {
        error(operation, status, description);
    }
}

fn error(operation: &mut Operation, status: &str, description: &str) {
    let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    let response = ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build();
    operation.responses.responses.insert(status.to_owned(), RefOr::T(response));
}

/// Of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct ListParams {
    /// Items in a page; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `key=value`; may be repeated, all must fit.
    #[param(pattern = "^[^=]+=")]
    label: Option<Vec<String>>,
    state: Option<String>,
    /// The exact name.
    name: Option<String>,
    project: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
pub(super) struct IdParam {
    /// The id or the name.
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
struct WaitParam {
    /// Seconds to wait for the operation's end; then 200 or its error.
    #[param(maximum = 300)]
    wait: Option<u32>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
struct IfMatchParam {
    /// Only if one of these is the resource's ETag: `"7"`, `"7", "8"`, or `*`. Of a cancellation: the operation's.
    #[param(rename = "If-Match", pattern = r#"^(\*|(W/)?"[^"]*"(, *(W/)?"[^"]*")*)$"#)]
    if_match: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
struct KeyParam {
    /// A repetition with the same key and body gets the same outcome for 24 hours.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]{1,255}$")]
    idempotency_key: Option<String>,
}

/// Of PATCH and DELETE.
pub(super) struct ChangeParams;

impl IntoParams for ChangeParams {
    fn into_params(parameter_in_provider: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut all = WaitParam::into_params(&parameter_in_provider);
        all.extend(IfMatchParam::into_params(&parameter_in_provider));
        all
    }
}

/// Of every POST.
pub(super) struct PostParams;

impl IntoParams for PostParams {
    fn into_params(parameter_in_provider: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut all = ChangeParams::into_params(&parameter_in_provider);
        all.extend(KeyParam::into_params(&parameter_in_provider));
        all
    }
}
