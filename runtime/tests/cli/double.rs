//! The server double: answers by name. `doomed` fails, `slow` never ends, `refused` and `missing` are problems, all else succeeds.

use super::guest;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

pub const TOKEN: &str = "secret";
const WHEN: &str = "2026-01-01T00:00:00Z";

#[derive(Debug, Clone)]
pub struct Seen {
    pub what: String,
    pub key: Option<String>,
    pub if_match: Option<String>,
    pub body: Value,
}

#[derive(Default)]
pub struct Memory {
    pub seen: Mutex<Vec<Seen>>,
    polls: Mutex<HashMap<String, u32>>,
}

pub struct Double {
    pub url: String,
    pub memory: Arc<Memory>,
    _runtime: tokio::runtime::Runtime,
}

impl Double {
    pub fn start() -> Double {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let memory = Arc::new(Memory::default());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = router(memory.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Double { url, memory, _runtime: runtime }
    }

    /// The command line, pointed at this server, with a clean environment.
    pub fn hearth(&self, args: &[&str]) -> Command {
        let mut command = hearth(args);
        command.env("HEARTH_URL", &self.url).env("HEARTH_TOKEN", TOKEN);
        command
    }

    /// Runs what echoes its input, with more of it than any buffer holds.
    pub fn echoes(&self, args: &[&str]) {
        let mut child = self.hearth(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let sent: Vec<u8> = (0..8_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (mut stdin, written) = (child.stdin.take().unwrap(), sent.clone());
        let writing = std::thread::spawn(move || stdin.write_all(&written));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout == sent);
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.hearth(args).output().unwrap())
    }

    pub fn seen(&self, what: &str) -> Vec<Seen> {
        self.memory.seen.lock().unwrap().iter().filter(|seen| seen.what.starts_with(what)).cloned().collect()
    }
}

pub fn hearth(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn router(memory: Arc<Memory>) -> Router {
    Router::new()
        .route("/v1/vms", get(list).post(create))
        .route("/v1/vms/{id}", get(vm_get).patch(vm_patch).delete(vm_delete))
        .route("/v1/vms/{id}/metrics", get(metrics))
        .route("/v1/vms/{id}/metrics/vmm", get(vmm_metrics))
        .route("/v1/vms/{id}/logs", get(logs))
        .route("/v1/vms/{id}/shell", any(guest::shell))
        .route("/v1/vms/{id}/console", any(guest::shell))
        .route("/v1/vms/{id}/exec", any(guest::exec))
        .route("/v1/vms/{id}/connect", any(guest::connect))
        .route("/v1/vms/{id}/{action}", post(action))
        .route("/v1/operations/{id}", get(operation))
        .route("/v1/events", any(events))
        .layer(axum::middleware::from_fn_with_state(memory.clone(), watch))
        .with_state(memory)
}

async fn watch(State(memory): State<Arc<Memory>>, request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if text("authorization").as_deref() != Some("Bearer secret") {
        return problem(401, "unauthorized", "sign in first", "send a token");
    }
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    memory.seen.lock().unwrap().push(Seen {
        what: format!("{} {}", parts.method, parts.uri),
        key: text("idempotency-key"),
        if_match: text("if-match"),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    });
    next.run(axum::extract::Request::from_parts(parts, Body::from(bytes))).await
}

pub fn problem(status: u16, code: &str, detail: &str, hint: &str) -> Response {
    let body = json!({"type": "about:blank", "status": status, "title": code, "code": code, "detail": detail, "hint": hint, "request_id": "req_7"});
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/problem+json")], body.to_string())
        .into_response()
}

fn vm(name: &str, state: &str) -> Value {
    // One with two interfaces.
    let (networks, interfaces) = match name {
        "wired" => (
            json!(["default", {"network": "default", "mac": "02:00:00:00:00:01"}]),
            json!([
                {"network": "default", "address": "10.0.0.2", "mac": "02:68:0a:00:00:02"},
                {"network": "default", "address": "10.0.0.9", "mac": "02:00:00:00:00:01"},
            ]),
        ),
        _ => (json!(["default"]), json!([])),
    };
    json!({
        "id": format!("vm_{name}"), "name": name, "project": "default", "labels": {"a": "1", "b": "2"}, "generation": 4,
        "created_at": WHEN, "updated_at": WHEN, "a_field_of_a_newer_server": 1,
        "spec": {"vcpus": 1, "mem_mib": 256, "image": "busybox", "networks": networks, "restart": "on-failure"},
        "status": {"state": state, "host": "here", "ips": ["10.0.0.2"], "interfaces": interfaces, "restarts": 0, "actions": ["stop"], "refused": {}},
    })
}

fn absent(id: &str) -> Option<Response> {
    (id == "missing").then(|| problem(404, "vm-not-found", "there is no vm missing", "list them with `hearth vm ls`"))
}

async fn list(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    Json(match query.get("cursor").map(String::as_str) {
        None => json!({"items": [vm("one", "running")], "next_cursor": "c1"}),
        _ => json!({"items": [vm("two", "stopped")]}),
    })
}

fn accepted(name: &str, state: &str) -> Response {
    let operation = if matches!(name, "doomed" | "slow") { format!("op_{name}") } else { format!("op_ok_{name}") };
    (StatusCode::ACCEPTED, [(header::LOCATION, format!("/v1/operations/{operation}"))], Json(vm(name, state))).into_response()
}

async fn create(Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap_or("made-up");
    let (head, _) = accepted(name, "creating").into_parts();
    (head, Json(telling(vm(name, "creating"), &body)).into_response().into_body()).into_response()
}

/// With a password where one is asked for; `again` was asked for before.
fn telling(mut vm: Value, body: &Value) -> Value {
    if body["spec"]["cloud_init"]["password"] == "generate" {
        vm["credentials"] = match body["name"].as_str() {
            Some("again") => json!({"user": "default", "hint": "told before"}),
            _ => json!({"user": "default", "password": "abcde-fghjk"}),
        };
    }
    vm
}

async fn vm_get(Path(id): Path<String>) -> Response {
    absent(&id).unwrap_or_else(|| Json(vm(id.trim_start_matches("vm_"), "running")).into_response())
}

async fn vm_patch(Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    Json(telling(vm(&id, "stopped"), &body)).into_response()
}

async fn vm_delete(Path(id): Path<String>) -> Response {
    absent(&id).unwrap_or_else(|| accepted(&id, "deleting"))
}

async fn action(method: Method, Path((id, _action)): Path<(String, String)>) -> Response {
    assert_eq!(method, Method::POST);
    if id == "refused" {
        return problem(409, "vm-not-stopped", "vm refused is running", "stop it first");
    }
    absent(&id).unwrap_or_else(|| accepted(&id, "starting"))
}

async fn operation(State(memory): State<Arc<Memory>>, Path(id): Path<String>) -> Json<Value> {
    let polls = {
        let mut polls = memory.polls.lock().unwrap();
        let polls = polls.entry(id.clone()).or_default();
        *polls += 1;
        *polls
    };
    let (status, error) = match id.as_str() {
        "op_doomed" if polls > 1 => (
            "failed",
            json!({"title": "t", "code": "guest-panicked", "detail": "the guest panicked", "hint": "look at its logs"}),
        ),
        id if id.starts_with("op_ok") && polls > 1 => ("succeeded", Value::Null),
        _ => ("running", Value::Null),
    };
    Json(json!({
        "id": id, "kind": "vm-start", "target": {"kind": "vm", "id": "vm_x", "name": "x"}, "project": "default", "actor": "user:admin",
        "generation": polls, "created_at": WHEN, "updated_at": WHEN, "status": status, "progress": 40, "error": error,
        "cancellable": false, "steps": [{"name": "boot-guest", "status": "running", "started_at": WHEN}],
    }))
}

async fn metrics(Path(id): Path<String>) -> Response {
    absent(&id).unwrap_or_else(|| Json(sample()).into_response())
}

async fn vmm_metrics(Path(id): Path<String>) -> Response {
    let drives = vec![api::v1::VmmDrive { name: "root".into(), written_bytes_total: 4096, ..Default::default() }];
    let metrics = api::v1::VmmMetrics { drives, missing: vec!["the balloon's size: why".into()], ..Default::default() };
    absent(&id).unwrap_or_else(|| Json(metrics).into_response())
}

fn sample() -> Value {
    let metrics =
        api::v1::VmMetrics { cpu_percent: 12.5, mem_used_bytes: 64 << 20, mem_total_bytes: 256 << 20, ..Default::default() };
    serde_json::to_value(metrics).unwrap()
}

async fn logs(uri: Uri) -> Response {
    let parts = ["first\nsecond\n", "third\n"].map(|part| Ok::<_, std::io::Error>(part.to_owned()));
    if uri.query() == Some("timestamps=true&since=10m") {
        return "- first\n".into_response();
    }
    assert!(matches!(uri.query(), None | Some("follow=true")));
    Body::from_stream(futures_util::stream::iter(parts)).into_response()
}

/// The first connection gives 1 and 2 and breaks; the one that resumes behind 2 gives 2 again, then 3.
async fn events(Query(query): Query<HashMap<String, String>>, _headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let cursors: &[u64] = match query.get("after").map(String::as_str) {
        None | Some("0") => &[1, 2],
        Some("2") => &[2, 3],
        _ => &[],
    };
    let orderly = query.contains_key("kind");
    upgrade.on_upgrade(move |mut socket| async move {
        for cursor in cursors {
            let event = json!({
                "cursor": cursor, "time": WHEN, "kind": "vm", "id": "vm_one", "name": "one", "project": "default", "generation": 1,
                "type": format!("vm-event-{cursor}"), "actor": "user:admin", "data": {"state": "running"},
            });
            socket.send(Message::Text(event.to_string().into())).await.unwrap();
        }
        if orderly {
            guest::goodbye(&mut socket).await;
        }
    })
}
