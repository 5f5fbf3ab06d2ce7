//! A password that is made for a guest: told in one answer, and what is kept of it shows nothing.

use crate::bench::{Answer, Bench};
use axum::body::Body;
use host::vmm::simulated::{Faults, Simulated, SimulatedOptions};
use serde_json::{Value, json};
use std::sync::Arc;

async fn patch(bench: &Bench, cloud_init: Value) -> Answer {
    let body = json!({ "spec": { "cloud_init": cloud_init } }).to_string();
    bench.ask("PATCH", "/v1/vms/a", &[("content-type", "application/json")], Body::from(body)).await
}

fn asking(bench: &Bench, start: bool) -> Value {
    let mut vm = bench.vm("a");
    vm["spec"]["cloud_init"] = json!({ "ssh_keys": ["ssh-ed25519 AAAA me"], "password": "generate" });
    vm["start"] = json!(start);
    vm
}

fn told(answer: &Answer) -> String {
    let credentials = &answer.body["credentials"];
    assert_eq!((&credentials["user"], credentials.get("hint")), (&json!("default"), None), "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let password = credentials["password"].as_str().unwrap();
    assert_eq!(password.len(), 29, "{password}");
    password.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_the_first_answer_alone() {
    let bench = Bench::with_images().await;
    let wanted = asking(&bench, true);
    let first = bench.keyed("/v1/vms?wait=30", "key-1", &wanted).await;
    assert_eq!(first.status.as_u16(), 200, "{}", first.body);
    let password = told(&first);
    let shown = json!({ "ssh_keys": ["ssh-ed25519 AAAA me"], "password": "set" });
    assert_eq!(first.body["spec"]["cloud_init"], shown);
    // Repeated by its key: the same VM, and why there is no password; with the server's restart between them, too.
    let bench = {
        let again = bench.keyed("/v1/vms", "key-1", &wanted).await;
        assert_eq!((&again.body["id"], again.status.as_u16()), (&first.body["id"], 202));
        let credentials = &again.body["credentials"];
        assert_eq!((&credentials["user"], credentials.get("password")), (&json!("default"), None), "{}", again.body);
        assert!(credentials["hint"].as_str().unwrap().contains("--new-password"), "{credentials}");
        assert!(!again.body.to_string().contains(&password));
        bench.again().await
    };
    assert!(bench.keyed("/v1/vms", "key-1", &wanted).await.body["credentials"].get("hint").is_some());
    // Nor with any other answer about it.
    let started = bench.keyed("/v1/vms/a/reboot?wait=30", "key-2", &json!({ "force": true })).await;
    assert_eq!((started.status.as_u16(), started.body.get("credentials")), (200, None), "{}", started.body);
    for path in ["/v1/vms/a", "/v1/vms", "/v1/operations", "/v1/node/tree?all=true", "/metrics"] {
        let answer = bench.get(path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        let all = answer.body.to_string();
        assert!(!all.contains(&password) && !all.contains("credentials") && !all.contains("$6$"), "{path}: {all}");
    }
    assert_eq!(bench.get("/v1/vms/a").await.body["spec"]["cloud_init"], shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_is_made_until_the_first_start_and_kept_by_what_a_get_shows() {
    let bench = Bench::with_images().await;
    patch(&bench, json!({})).await.refuses(404, "vm-not-found", "");
    let first = bench.post("/v1/vms?wait=30", &asking(&bench, false)).await;
    let before = told(&first);
    let second = patch(&bench, json!({ "password": "generate" })).await;
    assert_ne!(told(&second), before, "{}", second.body);
    // What is sent back as it was shown changes nothing, and tells nothing.
    let kept = patch(&bench, json!({ "user_data": "#!/bin/sh\n", "password": "set" })).await;
    let expected = (200, &json!({ "user_data": "#!/bin/sh\n", "password": "set" }), None);
    assert_eq!((kept.status.as_u16(), &kept.body["spec"]["cloud_init"], kept.body.get("credentials")), expected, "{}", kept.body);
    let away = patch(&bench, json!({ "user_data": "#!/bin/sh\n" })).await;
    assert_eq!(away.body["spec"]["cloud_init"], json!({ "user_data": "#!/bin/sh\n" }));
    patch(&bench, json!({ "password": "set" })).await.refuses(422, "no-password", "spec.cloud_init.password");
    told(&patch(&bench, json!({ "password": "generate" })).await);

    assert_eq!(bench.post("/v1/vms/a/start?wait=30", &json!({})).await.status.as_u16(), 200);
    for stop in [false, true] {
        if stop {
            assert_eq!(bench.post("/v1/vms/a/stop?wait=30", &json!({ "force": true })).await.status.as_u16(), 200);
        }
        let refused = patch(&bench, json!({ "password": "generate" })).await;
        refused.refuses(409, "password-too-late", "");
        assert!(refused.body["hint"].as_str().unwrap().contains("passwd"), "{}", refused.body);
        let kept = patch(&bench, json!({ "password": "set" })).await;
        assert_eq!((kept.status.as_u16(), &kept.body["spec"]["cloud_init"]["password"]), (200, &json!("set")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_brings_a_password_of_their_own() {
    let bench = Bench::with_images().await;
    let with = |password: Value| {
        let mut vm = asking(&bench, false);
        vm["spec"]["cloud_init"]["password"] = password;
        vm
    };
    bench.keyed("/v1/vms", "key-1", &with(json!("set"))).await.refuses(422, "no-password", "spec.cloud_init.password");
    // Not lasting: refusals that are lie in the journal, with what they quote.
    let own = bench.keyed("/v1/vms", "key-2", &with(json!("hunter2"))).await;
    assert_eq!((own.status.as_u16(), own.field()), (400, "spec.cloud_init.password"), "{}", own.body);
    assert_eq!(bench.get("/v1/vms").await.body["items"], json!([]));
}

/// Who waits is told how it ended, and of a failure nothing else: the document says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_was_waited_for_tells_no_password() {
    let bench = Bench::driven(|data| {
        let faults = Faults { launch_fails_per_mille: 1000, ..Faults::default() };
        Arc::new(Simulated::new(SimulatedOptions { data, faults, ..SimulatedOptions::default() }).unwrap())
    })
    .await;
    let failed = bench.post("/v1/vms?wait=30", &asking(&bench, true)).await;
    assert!(failed.status.is_client_error() || failed.status.is_server_error(), "{}", failed.body);
    assert!(failed.body.get("credentials").is_none() && failed.body["code"].is_string(), "{}", failed.body);
    assert_eq!(bench.get("/v1/vms/a").await.body["spec"]["cloud_init"]["password"], "set", "one was made");
}
