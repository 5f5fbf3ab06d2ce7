//! What a guest is given to configure itself by: taken, shown, changed, taken away; refused where it is none or where nobody could read it.

use crate::{
    bench::{Bench, until},
    driver::Driver,
};
use axum::body::Body;
use domain::host::Capabilities;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const SECRET: &str = "#cloud-config\npassword: hunter2\n";

async fn patch(bench: &Bench, spec: Value) -> crate::bench::Answer {
    let body = json!({ "spec": spec }).to_string();
    bench.ask("PATCH", "/v1/vms/a", &[("content-type", "application/json")], Body::from(body)).await
}

fn with(bench: &Bench, field: &str, value: Value) -> Value {
    let mut vm = bench.vm("a");
    vm["spec"][field] = value;
    vm
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_init_is_kept_changed_and_taken_away_and_stands_in_no_event() {
    let bench = Bench::with_images().await;
    let given = json!({ "user_data": SECRET, "ssh_keys": ["ssh-ed25519 AAAA me"] });
    let mut vm = with(&bench, "cloud_init", given.clone());
    vm["start"] = json!(true);
    assert_eq!(bench.post("/v1/vms?wait=30", &vm).await.status.as_u16(), 200);
    assert_eq!(bench.get("/v1/vms/a").await.body["spec"]["cloud_init"], given);
    // While it runs: for its next start.
    let changed = json!({ "user_data": "#!/bin/sh\n" });
    let answer = patch(&bench, json!({ "cloud_init": changed })).await;
    assert_eq!((answer.status.as_u16(), &answer.body["spec"]["cloud_init"]), (200, &changed), "{}", answer.body);
    assert_eq!(answer.body["status"]["state"], "running");
    let answer = patch(&bench, json!({ "restart": "always" })).await;
    assert_eq!(answer.body["spec"]["cloud_init"], changed, "what is absent stays");
    let answer = patch(&bench, json!({ "cloud_init": null })).await;
    assert_eq!((answer.status.as_u16(), answer.body["spec"].get("cloud_init")), (200, None), "{}", answer.body);
    let operations = bench.get("/v1/operations").await.body.to_string();
    assert!(!operations.contains("hunter2"), "{operations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_and_what_is_too_much_is_refused_by_its_field() {
    let bench = Bench::with_images().await;
    let keys = |key: &str| json!({ "ssh_keys": [key] });
    let many = vec!["ssh-rsa AAAA"; 33];
    for (given, field) in [
        (keys("-----BEGIN OPENSSH PRIVATE KEY-----"), "spec.cloud_init.ssh_keys"),
        (keys("ssh-rsa AAAA\nssh-rsa BBBB"), "spec.cloud_init.ssh_keys"),
        (json!({ "ssh_keys": many }), "spec.cloud_init.ssh_keys"),
        (json!({ "user_data": "x".repeat(32 * 1024 + 1) }), "spec.cloud_init.user_data"),
    ] {
        let answer = bench.post("/v1/vms", &with(&bench, "cloud_init", given)).await;
        answer.refuses(422, "invalid-spec", field);
        assert!(!answer.body.to_string().contains("BBBB"), "what was given is not repeated: {}", answer.body);
    }
    bench.post("/v1/vms", &with(&bench, "cloud_init", json!({ "userdata": "x" }))).await.refuses(
        400,
        "unknown-field",
        "spec.cloud_init.userdata",
    );
    assert_eq!(bench.get("/v1/vms").await.body["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_needs_a_driver_a_network_and_a_key_of_its_own() {
    let bench = Bench::able(Capabilities { guest_agent: true, ..Capabilities::NONE }).await;
    let refused = bench.post("/v1/vms", &with(&bench, "metadata", json!({ "role": "web" }))).await;
    refused.refuses(422, "unsupported-by-driver", "spec.metadata");
    assert!(
        refused.body["detail"].as_str().unwrap().contains("the simulated driver has no metadata service"),
        "{}",
        refused.body
    );
    assert_eq!(bench.post("/v1/vms?wait=30", &bench.vm("a")).await.status.as_u16(), 200);
    patch(&bench, json!({ "metadata": { "role": "web" } })).await.refuses(422, "unsupported-by-driver", "spec.metadata");

    let bench = Bench::able(Capabilities { guest_agent: true, metadata: true, ..Capabilities::NONE }).await;
    let mut alone = with(&bench, "metadata", json!({ "role": "web" }));
    alone["spec"]["networks"] = json!([]);
    bench.post("/v1/vms", &alone).await.refuses(422, "invalid-spec", "spec.metadata");
    bench.post("/v1/vms", &with(&bench, "metadata", json!({ "hearth": 1 }))).await.refuses(422, "invalid-spec", "spec.metadata");
    let large = json!({ "a": "x".repeat(32 * 1024) });
    bench.post("/v1/vms", &with(&bench, "metadata", large)).await.refuses(422, "invalid-spec", "spec.metadata");
    assert_eq!(bench.post("/v1/vms", &with(&bench, "metadata", json!([1]))).await.status.as_u16(), 400);

    let given = json!({ "role": "web", "list": [1, { "a": null }] });
    let made = bench.post("/v1/vms?wait=30", &with(&bench, "metadata", given.clone())).await;
    assert_eq!((made.status.as_u16(), &made.body["spec"]["metadata"]), (200, &given), "{}", made.body);
    let answer = patch(&bench, json!({ "metadata": null })).await;
    assert_eq!((answer.status.as_u16(), answer.body["spec"].get("metadata")), (200, None), "{}", answer.body);
}

/// Changed, it is answered once it is recorded; that the VMM was not told is said with the VM, and it is told once more when asked for once more.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_change_while_the_vm_runs_and_what_could_not_be_told_is_said() {
    let is_deaf = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicUsize::new(0));
    let shared = (Arc::clone(&is_deaf), Arc::clone(&told));
    let bench = Bench::driven(|data| Arc::new(Driver { is_deaf: shared.0, told: shared.1, ..Driver::new(data) })).await;
    let mut vm = with(&bench, "cloud_init", json!({ "password": "generate" }));
    vm["start"] = json!(true);
    let made = bench.post("/v1/vms?wait=30", &vm).await;
    assert_eq!((made.status.as_u16(), &made.body["status"]["state"]), (200, &json!("running")), "{}", made.body);
    let changed = patch(&bench, json!({ "metadata": { "role": "hunter2" } })).await;
    assert_eq!((changed.status.as_u16(), &changed.body["spec"]["metadata"]), (200, &json!({ "role": "hunter2" })));
    let path = format!("/v1/vms/{}", made.body["id"].as_str().unwrap());
    let settled = async |reason: Option<&str>| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let vm = bench.get(&path).await.body;
            if vm["status"].get("reason").map(|reason| reason["code"].as_str().unwrap()) == reason {
                return vm;
            }
            assert!(Instant::now() < deadline, "{reason:?}: {vm}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until("the VMM was told", async || told.load(Ordering::Relaxed) == 1).await;
    let running = settled(None).await;
    assert_eq!(running["generation"], changed.body["generation"], "that it holds is no change of its own: the ETag is good");

    is_deaf.store(true, Ordering::Relaxed);
    let answer = patch(&bench, json!({ "metadata": { "role": "db" } })).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]["state"]), (200, &json!("running")), "{}", answer.body);
    let vm = settled(Some("not-applied")).await;
    let detail = vm["status"]["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains("PUT /mmds") && detail.contains("from the next start"), "{detail}");
    assert_eq!((&vm["spec"]["metadata"], &vm["status"]["state"]), (&json!({ "role": "db" }), &json!("running")));
    is_deaf.store(false, Ordering::Relaxed);
    assert_eq!(patch(&bench, json!({ "metadata": { "role": "db" } })).await.status.as_u16(), 200);
    settled(None).await;
    assert_eq!(patch(&bench, json!({ "metadata": null })).await.body["spec"].get("metadata"), None);

    // A new name is told as well.
    is_deaf.store(true, Ordering::Relaxed);
    let headers = [("content-type", "application/json")];
    let renamed = bench.ask("PATCH", "/v1/vms/a", &headers, r#"{"name":"b"}"#).await;
    assert_eq!((renamed.status.as_u16(), &renamed.body["name"]), (200, &json!("b")), "{}", renamed.body);
    settled(Some("not-applied")).await;
    is_deaf.store(false, Ordering::Relaxed);
    let renamed = bench.ask("PATCH", "/v1/vms/b", &headers, r#"{"name":"a"}"#).await;
    assert_eq!(renamed.status.as_u16(), 200, "{}", renamed.body);
    settled(None).await;

    let events = bench.node.journal().read(0, 1000).unwrap();
    let events: Vec<_> = events.iter().map(|(_, bytes)| actors::decode_event(bytes).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "vm-tune-failed").count(), 2, "{names:?}");
    assert_eq!(names.last(), Some(&"vm-tuned"));
    let text = format!("{events:?}");
    assert!(!text.contains("hunter2") && !text.contains("$6$"), "{text}");
}

/// The record with all of it fits into the journal, and what would not is refused for what it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_most_that_can_be_given_is_kept() {
    let bench = Bench::able(Capabilities { guest_agent: true, metadata: true, ..Capabilities::NONE }).await;
    let most = |metadata: usize| {
        let mut vm = with(&bench, "cloud_init", json!({ "user_data": "x".repeat(32 * 1024) }));
        vm["spec"]["metadata"] = json!({ "a": "y".repeat(metadata - r#"{"a":""}"#.len()) });
        vm["spec"]["cmdline"] = json!("z".repeat(1024));
        vm["labels"] = (0..64).map(|n| (format!("{n:063}"), json!("v".repeat(255)))).collect();
        vm
    };
    bench.post("/v1/vms", &most(4 * 1024 + 1)).await.refuses(422, "invalid-spec", "spec.cloud_init");
    let made = bench.post("/v1/vms?wait=30", &most(4 * 1024)).await;
    assert_eq!(made.status.as_u16(), 200, "{}", made.body);
    patch(&bench, json!({ "metadata": { "a": "y".repeat(32 * 1024 - 8) } })).await.refuses(
        422,
        "invalid-spec",
        "spec.cloud_init",
    );
}
