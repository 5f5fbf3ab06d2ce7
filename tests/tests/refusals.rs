//! Bad input: each with its status, its code, a sentence and a hint; and nothing happens by it.

use anyhow::{Context, Result, ensure};
use api::client::ListQuery;
use hearth_tests::{
    Options, Server,
    events::Follower,
    guest::{create, small, waiting},
    images::{self, ROOTFS},
    raw::{Answer, Raw},
    scenario,
};
use reqwest::Method;
use serde_json::{Value, json};

async fn simulated(machine: &hearth_tests::Machine) -> Result<Server> {
    let server = Server::start(machine, Options { images: false, ..Options::simulated() }).await?;
    images::pretend(&server).await?;
    Ok(server)
}

fn vm(name: &str) -> Value {
    json!({"name": name, "spec": {"vcpus": 1, "mem_mib": 128, "image": ROOTFS}})
}

/// `{"spec": {…}}` with one thing changed.
fn with(path: &str, value: Value) -> Value {
    let mut body = vm("refused");
    match path.strip_prefix("spec.") {
        Some(field) => body["spec"][field] = value,
        None => body[path] = value,
    }
    body
}

async fn post(server: &Server, path: &str, body: &Value) -> Result<Answer> {
    Raw::new(server, Method::POST, path)?.json(body).send().await
}

/// How many events there are: a refusal must add none.
async fn newest(server: &Server) -> Result<u64> {
    let mut all = Follower::open(server.client(), Some(0)).await?;
    let marker = server.client().hosts().list(ListQuery::default()).next().await?.context("a host")?;
    let labels = [("seen".to_owned(), jiff::Timestamp::now().as_nanosecond().to_string())].into();
    let patch = api::v1::PatchHost { labels: Some(labels) };
    server.client().hosts().patch(&marker.id, &patch, &Default::default()).await?;
    let mut last = 0;
    loop {
        let event = all.next().await?;
        // The mark itself and the marks before it do not count.
        if event.event != "host-updated" {
            last = event.cursor;
        } else if server.client().hosts().get(&marker.id).await?.generation == event.generation {
            return Ok(last);
        }
    }
}

/// Malformed requests, and impossible ones. One row each.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_vm_is_refused_and_leaves_nothing() -> Result<()> {
    scenario("a_bad_vm_is_refused_and_leaves_nothing", &[], async |machine| {
        let server = simulated(&machine).await?;
        let taken = post(&server, "/v1/vms?wait=30", &vm("taken")).await?;
        ensure!(taken.status == 200, "{}", taken.text());
        let before = newest(&server).await?;
        let huge = 3_000_000_000_u64;
        let rows: Vec<(Value, u16, &str, &str)> = vec![
            (with("colour", json!("green")), 400, "unknown-field", "colour"),
            (with("spec.cpus", json!(2)), 400, "unknown-field", "spec.cpus"),
            (with("spec.vcpus", json!("two")), 400, "wrong-type", "spec.vcpus"),
            (with("spec.mem_mib", json!(-5)), 400, "wrong-type", "spec.mem_mib"),
            (with("spec.mem_mib", json!(1.5)), 400, "wrong-type", "spec.mem_mib"),
            (with("start", json!("yes")), 400, "wrong-type", "start"),
            (json!({"name": "refused", "spec": {"vcpus": 1, "mem_mib": 128}}), 400, "missing-field", "spec.image"),
            (with("spec.vcpus", json!(0)), 422, "invalid-spec", "spec.vcpus"),
            (with("spec.vcpus", json!(33)), 422, "invalid-spec", "spec.vcpus"),
            (with("spec.mem_mib", json!(63)), 422, "invalid-spec", "spec.mem_mib"),
            (with("spec.mem_mib", json!(huge)), 422, "invalid-spec", "spec.mem_mib"),
            (with("spec.disk_mib", json!(0)), 422, "invalid-spec", "spec.disk_mib"),
            (with("spec.networks", json!(["other"])), 422, "invalid-spec", "spec.networks"),
            (with("spec.cmdline", json!("a\nb")), 422, "invalid-spec", "spec.cmdline"),
            (with("spec.image", json!("nothing")), 422, "unknown-image", "spec.image"),
            (with("spec.kernel", json!("nothing")), 422, "unknown-image", "spec.kernel"),
            (with("name", json!("Not A Name")), 422, "invalid-name", "name"),
            (with("name", json!("../../etc")), 422, "invalid-name", "name"),
            (with("name", json!("")), 422, "invalid-name", "name"),
            (with("project", json!("other")), 422, "unknown-project", "project"),
            (vm("taken"), 409, "name-taken", ""),
        ];
        for (body, status, code, field) in rows {
            let answer = post(&server, "/v1/vms?wait=30", &body).await?;
            let problem = answer.problem(status, code).with_context(|| body.to_string())?;
            if !field.is_empty() {
                let named = problem.fields.iter().any(|named| named.field == field && !named.detail.is_empty());
                ensure!(named, "{body}: {field} is not named in {:?}", problem.fields);
            }
        }
        let (vms, _) = server.client().vms().list(ListQuery::default()).collect(100).await?;
        ensure!(vms.len() == 1 && vms[0].name == "taken", "{vms:?}");
        ensure!(newest(&server).await? == before, "a refusal left an event");
        Ok(())
    })
    .await
}

/// Bodies, tokens, paths, queries, cursors: what is wrong with the request itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_told_what_is_wrong() -> Result<()> {
    scenario("a_bad_request_is_told_what_is_wrong", &[], async |machine| {
        let server = simulated(&machine).await?;
        let raw = |method, path: &str| Raw::new(&server, method, path);
        let json_type = "application/json";
        raw(Method::POST, "/v1/vms")?.text(json_type, "{\"name\":").send().await?.problem(400, "bad-json")?;
        raw(Method::POST, "/v1/vms")?.text(json_type, "").send().await?.problem(400, "body-missing")?;
        raw(Method::POST, "/v1/vms")?.text(json_type, vec![b'['; 100_000]).send().await?.problem(400, "wrong-type")?;
        raw(Method::POST, "/v1/vms")?.text("text/plain", "{}").send().await?.problem(415, "not-json")?;
        let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
        raw(Method::POST, "/v1/vms")?.text(json_type, large).send().await?.problem(413, "too-large")?;

        for (name, value) in [("authorization", "Bearer wrong"), ("authorization", "Basic YTpi"), ("x-nothing", "1")] {
            let answer = Raw::anonymous(&server, Method::GET, "/v1/vms")?.header(name, value).send().await?;
            ensure!(answer.status == 401, "{name}: {value} gives {}", answer.status);
            let code = serde_json::from_slice::<Value>(&answer.body)?["code"].as_str().unwrap_or_default().to_owned();
            answer.problem(401, &code)?;
            ensure!(answer.headers.contains_key("www-authenticate"));
        }
        for path in ["/v1/events", "/v1/vms/x/shell", "/v1/node/tree", "/metrics", "/openapi.json", "/v1/nothing"] {
            let answer = Raw::anonymous(&server, Method::GET, path)?.send().await?;
            ensure!(answer.status == 401, "{path} without a token gives {}", answer.status);
        }
        for path in ["/healthz", "/readyz", "/"] {
            let answer = Raw::anonymous(&server, Method::GET, path)?.send().await?;
            ensure!(answer.status == 200, "{path} gives {}", answer.status);
        }

        for (path, status, code) in [
            ("/v1/vms?cursor=nonsense", 400, "bad-cursor"),
            ("/v1/vms?limit=0", 400, "bad-query"),
            ("/v1/vms?limit=1001", 400, "bad-query"),
            ("/v1/vms?limit=ten", 400, "bad-query"),
            ("/v1/vms?state=flying", 400, "bad-query"),
            ("/v1/vms?label=novalue", 400, "bad-query"),
            ("/v1/vms?colour=green", 400, "unknown-field"),
            ("/v1/vms/nothing", 404, "vm-not-found"),
            ("/v1/images/nothing", 404, "image-not-found"),
            ("/v1/hosts/nothing", 404, "host-not-found"),
            ("/v1/operations/op_01m8532pag1c140f5c4pwwza1a", 404, "operation-not-found"),
            ("/v1/nothing", 404, "unknown-path"),
            ("/v1/volumes", 404, "kind-not-in-this-version"),
            ("/v1/events", 406, "stream-only"),
        ] {
            raw(Method::GET, path)?.send().await?.problem(status, code).with_context(|| path.to_owned())?;
        }
        let sse = |path: &str| Ok::<Raw, anyhow::Error>(raw(Method::GET, path)?.header("accept", "text/event-stream"));
        sse("/v1/events?after=soon")?.send().await?.problem(400, "bad-query")?;
        sse("/v1/events?kind=cat")?.send().await?.problem(400, "bad-query")?;
        raw(Method::PUT, "/v1/vms")?.json(&json!({})).send().await?.problem(405, "method-not-allowed")?;
        post(&server, "/v1/vms?wait=301", &vm("a")).await?.problem(400, "bad-query")?;
        Ok(())
    })
    .await
}

/// Two that change the same thing, and one that repeats itself.
#[tokio::test(flavor = "multi_thread")]
async fn stale_and_repeated_changes_are_seen() -> Result<()> {
    scenario("stale_and_repeated_changes_are_seen", &[], async |machine| {
        let server = simulated(&machine).await?;
        ensure!(post(&server, "/v1/vms?wait=30", &vm("a")).await?.status == 200);
        let read = Raw::new(&server, Method::GET, "/v1/vms/a")?.send().await?;
        let tag = read.headers.get("etag").context("an ETag")?.to_str()?.to_owned();
        let change = |tag: &str, label: &str| {
            let raw = Raw::new(&server, Method::PATCH, "/v1/vms/a");
            let body = json!({"labels": {"by": label}});
            let tag = tag.to_owned();
            async move { raw?.header("if-match", &tag).json(&body).send().await }
        };
        ensure!(change(&tag, "first").await?.status == 200);
        change(&tag, "second").await?.problem(412, "stale")?;
        change("seven", "third").await?.problem(400, "bad-if-match")?;
        let labels = server.client().vms().get("a").await?.labels;
        ensure!(labels.get("by").is_some_and(|by| by == "first"), "{labels:?}");
        let delete = Raw::new(&server, Method::DELETE, "/v1/vms/a")?.header("if-match", &tag).send().await?;
        delete.problem(412, "stale")?;

        let keyed = |key: &str, body: Value| {
            let raw = Raw::new(&server, Method::POST, "/v1/vms?wait=30");
            let key = key.to_owned();
            async move { raw?.header("idempotency-key", &key).json(&body).send().await }
        };
        let (first, second) = (keyed("key-1", vm("b")).await?, keyed("key-1", vm("b")).await?);
        ensure!(first.status == 200 && second.status == 200, "{} {}", first.status, second.status);
        ensure!(first.value()?["id"] == second.value()?["id"], "two VMs for one key");
        keyed("key-1", vm("c")).await?.problem(409, "idempotency-key-reused")?;
        keyed("key\u{7f}2", vm("c")).await.err().map_or(Ok(()), |_| Ok::<(), anyhow::Error>(()))?;
        // A refusal is repeated too, even when it would be accepted now.
        keyed("key-3", vm("b")).await?.problem(409, "name-taken")?;
        server.client().vms().delete("b", false, &waiting()).await?;
        keyed("key-3", vm("b")).await?.problem(409, "name-taken")?;
        Ok(())
    })
    .await
}

/// What a VM's state forbids, each with the reason that its status gives.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_forbids_what_does_not_fit() -> Result<()> {
    scenario("a_state_forbids_what_does_not_fit", &[], async |machine| {
        let server = simulated(&machine).await?;
        server.client().vms().create(&create("a", small(), false), &waiting()).await?;
        let act = |action: &str| {
            let path = format!("/v1/vms/a/{action}?wait=30");
            let server = &server;
            async move { Raw::new(server, Method::POST, &path)?.send().await }
        };
        act("stop").await?.problem(409, "vm-not-running")?;
        act("pause").await?.problem(409, "vm-not-running")?;
        act("resume").await?.problem(409, "vm-not-paused")?;
        act("reboot").await?.problem(409, "vm-not-running")?;
        ensure!(act("start").await?.status == 200);
        act("start").await?.problem(409, "vm-already-running")?;
        Raw::new(&server, Method::DELETE, "/v1/vms/a")?.send().await?.problem(409, "vm-running")?;
        let patch = Raw::new(&server, Method::PATCH, "/v1/vms/a")?.json(&json!({"spec": {"vcpus": 2}})).send().await?;
        patch.problem(409, "only-when-stopped")?;
        ensure!(act("pause").await?.status == 200);
        act("pause").await?.problem(409, "vm-already-paused")?;
        act("stop").await?.problem(409, "vm-paused-needs-force")?;
        act("reboot").await?.problem(409, "vm-paused")?;
        let vm = server.client().vms().get("a").await?;
        for action in ["start", "stop", "pause", "resume", "reboot", "delete", "update", "shell", "exec", "console", "logs"] {
            let allowed = vm.status.actions.iter().any(|allowed| allowed == action);
            let reason = vm.status.refused.get(action);
            ensure!(allowed != reason.is_some(), "{action} is both or neither: {:?}", vm.status);
        }
        let image = Raw::new(&server, Method::DELETE, &format!("/v1/images/{ROOTFS}"))?.send().await?;
        image.problem(409, "image-in-use")?;
        let host = server.client().hosts().list(ListQuery::default()).next().await?.context("a host")?;
        server.client().hosts().cordon(&host.id, &Default::default()).await?;
        post(&server, "/v1/vms", &vm_named("b")).await?.problem(409, "host-cordoned")?;
        server.client().hosts().uncordon(&host.id, &Default::default()).await?;
        ensure!(post(&server, "/v1/vms?wait=30", &vm_named("b")).await?.status == 200);
        Raw::new(&server, Method::DELETE, "/v1/vms/a?force=true&wait=30")?.send().await.map(|answer| answer.status == 200)?;
        ensure!(Raw::new(&server, Method::GET, "/v1/vms/a")?.send().await?.status == 404);
        Ok(())
    })
    .await
}

fn vm_named(name: &str) -> Value {
    vm(name)
}

/// Images that are none.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_is_refused_and_leaves_nothing() -> Result<()> {
    scenario("a_bad_image_is_refused_and_leaves_nothing", &[], async |machine| {
        let server = simulated(&machine).await?;
        let folder = tempfile::tempdir()?;
        let text = folder.path().join("text");
        std::fs::write(&text, "no image at all")?;
        let file = |path: &str, kind: &str| json!({"name": "bad", "spec": {"kind": kind, "path": path}});
        let text = text.to_string_lossy().into_owned();
        let rows = [
            (file("/no/such/file", "rootfs"), 422, "source-unreadable"),
            (file(&folder.path().to_string_lossy(), "rootfs"), 422, "source-unreadable"),
            (file(&text, "rootfs"), 422, "source-wrong-kind"),
            (file(&text, "kernel"), 422, "source-wrong-kind"),
        ];
        for (body, status, code) in rows {
            let answer = post(&server, "/v1/images?wait=30", &body).await?;
            answer.problem(status, code).with_context(|| body.to_string())?;
            // An import that failed says so in the list, until it is removed.
            if server.client().images().get("bad").await.is_ok() {
                server.client().images().delete("bad", &waiting()).await?;
            }
        }
        for (body, status) in [(file("relative/path", "rootfs"), 422), (file(&text, "oci"), 422), (file(&text, "cat"), 400)] {
            let answer = post(&server, "/v1/images?wait=30", &body).await?;
            let code = answer.value()?["code"].as_str().unwrap_or_default().to_owned();
            answer.problem(status, &code).with_context(|| body.to_string())?;
        }
        let (images, _) = server.client().images().list(ListQuery::default()).collect(10).await?;
        ensure!(images.len() == 2, "{images:?}");
        let store = server.data_dir().join("images");
        let files = std::fs::read_dir(&store)?.flatten().filter(|entry| entry.path().is_file()).count();
        ensure!(files == 2, "{files} files in the store of 2 images");
        Ok(())
    })
    .await
}
