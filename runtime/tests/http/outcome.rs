//! What commands answer: operations, waiting, repetition.

use crate::bench::Bench;
use axum::{body::Body, http::StatusCode};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn slow_things_answer_an_operation_that_can_be_waited_for() {
    let bench = Bench::with_images().await;
    let created = bench.post("/v1/vms", &bench.vm("web")).await;
    assert_eq!(created.status, StatusCode::ACCEPTED, "{}", created.body);
    let location = created.headers["location"].to_str().unwrap().to_owned();
    let operation = bench.get(&format!("{location}?wait=10")).await;
    assert_eq!(operation.body["status"], "succeeded", "{}", operation.body);
    assert_eq!((&operation.body["kind"], &operation.body["progress"]), (&json!("vm-create"), &json!(100)));
    let started = bench.ask("POST", "/v1/vms/web/start?wait=10", &[], Body::empty()).await;
    assert_eq!((started.status, &started.body["status"]["state"]), (StatusCode::OK, &json!("running")), "{}", started.body);
    bench.ask("POST", "/v1/vms/web/start", &[], Body::empty()).await.refuses(409, "vm-already-running", "");
    bench.delete("/v1/vms/web").await.refuses(409, "vm-running", "");
    let id = started.body["id"].as_str().unwrap();
    let cancel = bench.ask("POST", &format!("{location}/cancel"), &[], Body::empty()).await;
    cancel.refuses(409, "operation-ended", "");
    let deleted = bench.delete(&format!("/v1/vms/{id}?force=true&wait=10")).await;
    assert_eq!((deleted.status, &deleted.body["status"]["state"]), (StatusCode::OK, &json!("deleting")), "{}", deleted.body);
    bench.get("/v1/vms/web").await.refuses(404, "vm-not-found", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_operation_is_the_answer_of_who_waits() {
    let bench = Bench::new().await;
    let image = json!({"name": "gone", "spec": {"kind": "rootfs", "path": "/nonexistent/rootfs.ext4"}});
    bench.post("/v1/images?wait=10", &image).await.refuses(422, "source-unreadable", "");
    let image = json!({"name": "x", "spec": {"kind": "oci", "path": "/x"}});
    bench.post("/v1/images", &image).await.refuses(422, "kind-unsupported", "spec.kind");
    let image = json!({"name": "x", "spec": {"kind": "rootfs", "path": "x"}});
    bench.post("/v1/images", &image).await.refuses(422, "invalid-path", "spec.path");
    let vm = json!({"spec": {"vcpus": 1, "mem_mib": 128, "image": "gone"}});
    let refused = bench.post("/v1/vms", &vm).await;
    assert!(refused.status.is_client_error(), "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_gets_the_same_outcome() {
    let bench = Bench::with_images().await;
    let first = bench.keyed("/v1/vms", "k-1", &bench.vm("a")).await;
    let again = bench.keyed("/v1/vms?wait=10", "k-1", &bench.vm("a")).await;
    assert_eq!(first.body["id"], again.body["id"]);
    assert_eq!(first.headers["location"], again.headers["location"]);
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::OK), "only how long it waits differs");
    bench.keyed("/v1/vms", "k-1", &bench.vm("b")).await.refuses(409, "idempotency-key-reused", "");
    bench.keyed("/v1/images", "k-1", &bench.vm("a")).await.refuses(409, "idempotency-key-reused", "");
    // A refusal is an outcome: after the cause is gone, the same key still gets it, and a new one does not.
    bench.keyed("/v1/vms", "k-2", &bench.vm("a")).await.refuses(409, "name-taken", "");
    bench.delete("/v1/vms/a?wait=10").await;
    bench.keyed("/v1/vms", "k-2", &bench.vm("a")).await.refuses(409, "name-taken", "");
    assert_eq!(bench.keyed("/v1/vms", "k-3", &bench.vm("a")).await.status, StatusCode::ACCEPTED);
    let items = bench.get("/v1/vms").await.body["items"].as_array().unwrap().len();
    assert_eq!(items, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_at_the_same_time_make_one_vm() {
    let bench = Bench::with_images().await;
    let vm = bench.vm("twin");
    let twins = futures_util::future::join_all((0..8).map(|_| bench.keyed("/v1/vms?wait=10", "k", &vm))).await;
    for twin in &twins {
        assert_eq!((twin.status, &twin.body["id"]), (StatusCode::OK, &twins[0].body["id"]), "{}", twin.body);
    }
    assert_eq!(bench.node.view().vm_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_and_narrowed() {
    let bench = Bench::with_images().await;
    for n in 0..5 {
        let mut vm = bench.vm(&format!("vm-{n}"));
        vm["labels"] = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        bench.post("/v1/vms?wait=10", &vm).await;
    }
    let (mut names, mut path) = (Vec::new(), "/v1/vms?limit=2".to_owned());
    loop {
        let page = bench.get(&path).await.body;
        names.extend(page["items"].as_array().unwrap().iter().map(|vm| vm["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/vms?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["vm-0", "vm-1", "vm-2", "vm-3", "vm-4"]);
    let count = async |query: &str| bench.get(&format!("/v1/vms?{query}")).await.body["items"].as_array().unwrap().len();
    assert_eq!(count("label=parity%3Deven").await, 3);
    assert_eq!(count("label=parity%3Deven&name=vm-2").await, 1);
    assert_eq!(count("state=running").await, 0);
    assert_eq!(count("project=other").await, 0);
    let first = bench.get("/v1/operations?limit=1").await.body;
    assert_eq!(first["items"][0]["target"]["name"], "vm-4", "newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_carry_etags_and_hosts_are_cordoned() {
    let bench = Bench::with_images().await;
    let host = bench.get("/v1/hosts").await.body["items"][0]["name"].as_str().unwrap().to_owned();
    let path = format!("/v1/hosts/{host}");
    let tag = bench.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
    let same = bench.ask("GET", &path, &[("if-none-match", &tag)], Body::empty()).await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    let cordoned = bench.ask("POST", &format!("{path}/cordon"), &[("idempotency-key", "c")], Body::empty()).await;
    assert_eq!((cordoned.status, &cordoned.body["spec"]["cordoned"]), (StatusCode::OK, &json!(true)), "{}", cordoned.body);
    let again = bench.ask("POST", &format!("{path}/cordon"), &[("idempotency-key", "c")], Body::empty()).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    bench.ask("POST", &format!("{path}/cordon"), &[], Body::empty()).await.refuses(409, "host-already-cordoned", "");
    bench.post("/v1/vms", &bench.vm("a")).await.refuses(409, "host-cordoned", "");
    let metrics = bench.get("/metrics").await;
    let text = metrics.body.as_str().unwrap();
    assert!(
        text.contains(
            "hearth_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/hosts/{id}/cordon\",status=\"200\"} 2"
        ),
        "{text}"
    );
}
