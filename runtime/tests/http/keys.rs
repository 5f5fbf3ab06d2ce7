//! Idempotency keys: kept for a day across restarts, by the clock, and swept after it.

use crate::bench::Bench;
use actors::idempotency::{Record, TABLE};
use axum::http::StatusCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storage::{Batch, envelope};

const HOUR: u64 = 3_600_000;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// As if the clock had been so when the key was used: the record is what the server has of it.
async fn used_at(bench: &Bench, key: &str, at_ms: u64) {
    let journal = bench.node.journal();
    let mut record: Record = envelope::decode(&journal.get(TABLE, key).unwrap().expect("a key that was used")).unwrap();
    record.at_ms = at_ms;
    let (by_time, entry, nothing) = record.entry(key);
    let batch = Batch::default().put(TABLE, key, envelope::encode(&record).unwrap()).put(by_time, entry, nothing);
    journal.commit(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_kept_across_a_restart() {
    let bench = Bench::with_images().await;
    let vm = bench.vm("a");
    let first = bench.keyed("/v1/vms?wait=30", "k", &vm).await;
    let bench = bench.again().await;
    let again = bench.keyed("/v1/vms?wait=30", "k", &vm).await;
    assert_eq!((again.status, &again.body["id"]), (StatusCode::OK, &first.body["id"]), "{}", again.body);
    assert_eq!(first.headers["location"], again.headers["location"], "the same operation");
    bench.keyed("/v1/vms", "k", &bench.vm("b")).await.refuses(409, "idempotency-key-reused", "");
    assert_eq!(bench.node.view().vm_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_after_the_end_of_what_it_made_is_told_so() {
    let bench = Bench::with_images().await;
    let vm = bench.vm("a");
    let made = bench.keyed("/v1/vms?wait=30", "k", &vm).await;
    let operation = &made.headers["location"];
    let start = || bench.ask("POST", "/v1/vms/a/start?wait=30", &[("idempotency-key", "s")], "");
    let started = start().await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.body);
    assert_eq!(bench.ask("DELETE", "/v1/vms/a?wait=30&force=true", &[], "").await.status, StatusCode::OK);
    for path in ["/v1/vms", "/v1/vms?wait=30"] {
        bench.keyed(path, "k", &vm).await.refuses(410, "gone-since", "");
    }
    start().await.refuses(410, "gone-since", "");
    assert_eq!(bench.node.view().vm_count(), 0, "nothing is made a second time");
    let again = bench.keyed("/v1/vms?wait=30", "another", &vm).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    assert_ne!(operation, &again.headers["location"]);
    let document: serde_json::Value = serde_json::from_str(runtime::http::openapi::text()).unwrap();
    for path in ["/v1/vms", "/v1/vms/{id}/start", "/v1/images"] {
        assert!(document["paths"][path]["post"]["responses"].get("410").is_some(), "{path}");
    }
    for path in ["/v1/vms/{id}/exec", "/v1/webhooks/{id}/test", "/v1/node/down"] {
        assert!(document["paths"][path]["post"]["responses"].get("410").is_none(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_for_a_day_and_no_longer() {
    let bench = Bench::with_images().await;
    let vm = bench.vm("a");
    bench.keyed("/v1/vms?wait=30", "k", &vm).await;
    used_at(&bench, "k", now_ms() - 23 * HOUR).await;
    assert_eq!(bench.keyed("/v1/vms?wait=30", "k", &vm).await.status, StatusCode::OK, "23 hours later it is the same request");
    used_at(&bench, "k", now_ms() - 25 * HOUR).await;
    bench.keyed("/v1/vms", "k", &vm).await.refuses(409, "name-taken", "");
    // A clock that stood in the future when it was used, and was set right since, does not keep it for years.
    bench.keyed("/v1/vms?wait=30", "f", &bench.vm("f")).await;
    used_at(&bench, "f", now_ms() + 23 * HOUR).await;
    assert_eq!(bench.keyed("/v1/vms?wait=30", "f", &bench.vm("f")).await.status, StatusCode::OK);
    used_at(&bench, "f", now_ms() + 25 * HOUR).await;
    bench.keyed("/v1/vms", "f", &bench.vm("f")).await.refuses(409, "name-taken", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_swept_when_the_server_starts_and_the_rest_is_not() {
    let bench = Bench::with_images().await;
    for (key, at_ms) in [("old", now_ms() - 25 * HOUR), ("young", now_ms() - 23 * HOUR), ("future", now_ms() + 25 * HOUR)] {
        bench.keyed("/v1/vms?wait=30", key, &bench.vm(key)).await;
        used_at(&bench, key, at_ms).await;
    }
    let bench = bench.again().await;
    let kept = |key: &str| bench.node.journal().get(TABLE, key).unwrap().is_some();
    let swept = async {
        while kept("old") || kept("future") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.expect("the old ones are swept");
    assert!(kept("young"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_once_without_a_key_has_one_effect() {
    let bench = Bench::with_images().await;
    let vm = bench.vm("a");
    let creates = futures_util::future::join_all((0..8).map(|_| bench.post("/v1/vms?wait=30", &vm))).await;
    assert_eq!(creates.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    assert_eq!(creates.iter().filter(|answer| answer.code() == "name-taken").count(), 7);
    let starts = futures_util::future::join_all((0..8).map(|_| bench.ask("POST", "/v1/vms/a/start?wait=30", &[], ""))).await;
    assert_eq!(starts.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    assert!(starts.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 409)));
    let begun =
        bench.get("/v1/operations").await.body["items"].as_array().unwrap().iter().filter(|op| op["kind"] == "vm-start").count();
    assert_eq!(begun, 1, "one operation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_while_the_first_is_still_running_is_the_same_operation() {
    let bench = Bench::new().await;
    let image = serde_json::json!({"name": "large", "spec": {"kind": "rootfs", "path": bench.large_rootfs()}});
    let answers = futures_util::future::join_all((0..4).map(|_| bench.keyed("/v1/images", "k", &image))).await;
    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (StatusCode::ACCEPTED, &answers[0].headers["location"]),
            "{}",
            answer.body
        );
    }
    let operation = answers[0].headers["location"].to_str().unwrap();
    bench.ask("POST", &format!("{operation}/cancel?wait=60"), &[], "").await;
}
