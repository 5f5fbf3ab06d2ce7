//! Cancelling over HTTP, what an operation shows of itself meanwhile, and repetition.

use crate::bench::{Answer, Bench};
use axum::{body::Body, http::StatusCode};
use serde_json::json;
use std::time::Duration;

/// An import that takes a while, once bytes of it are told: the operation's path and the image's.
async fn importing(bench: &Bench) -> (String, String) {
    let image = json!({"name": "large", "spec": {"kind": "rootfs", "path": bench.large_rootfs()}});
    let created = bench.post("/v1/images", &image).await;
    assert_eq!(created.status, StatusCode::ACCEPTED, "{}", created.body);
    let operation = created.headers["location"].to_str().unwrap().to_owned();
    let told = async {
        while bench.get(&operation).await.body["done_bytes"].as_u64().unwrap_or(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("bytes are told");
    (operation, format!("/v1/images/{}", created.body["id"].as_str().unwrap()))
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers[name].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_cancelled_and_leaves_nothing() {
    let bench = Bench::new().await;
    let (operation, image) = importing(&bench).await;
    let seen = bench.get(&operation).await;
    assert_eq!((&seen.body["cancellable"], &seen.body["cancel_refused"]), (&json!(true), &json!(null)), "{}", seen.body);
    assert_eq!(seen.body["total_bytes"], json!(1u64 << 40));
    let stale = bench.ask("POST", &format!("{operation}/cancel"), &[("if-match", "\"0\"")], Body::empty()).await;
    stale.refuses(412, "stale", "");
    let cancelled = bench.ask("POST", &format!("{operation}/cancel"), &[("idempotency-key", "c")], Body::empty()).await;
    assert!(matches!(cancelled.status.as_u16(), 200 | 202), "{}", cancelled.body);
    assert_eq!(header(&cancelled, "location"), operation);
    assert!(cancelled.headers.contains_key("etag"));
    let ended = bench.get(&format!("{operation}?wait=60")).await;
    assert_eq!((&ended.body["status"], &ended.body["cancellable"]), (&json!("cancelled"), &json!(false)), "{}", ended.body);
    assert_eq!(ended.body["cancel_refused"], "the operation has ended");
    bench.get(&image).await.refuses(404, "image-not-found", "");
    // A repetition is answered as the first was, another cancellation is not.
    let again = bench.ask("POST", &format!("{operation}/cancel?wait=10"), &[("idempotency-key", "c")], Body::empty()).await;
    assert_eq!((again.status, &again.body["status"]), (StatusCode::OK, &json!("cancelled")), "{}", again.body);
    bench.ask("POST", &format!("{operation}/cancel"), &[], Body::empty()).await.refuses(409, "operation-ended", "");
    let left: Vec<_> =
        std::fs::read_dir(bench.dir.path().join("images")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["by-digest"], "nothing of it is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_cancellation_hears_of_its_end() {
    let bench = Bench::new().await;
    let (operation, _) = importing(&bench).await;
    let waiter = async { bench.get(&format!("{operation}?wait=60")).await };
    let cancel = async { bench.ask("POST", &format!("{operation}/cancel?wait=60"), &[], Body::empty()).await };
    let (waiter, cancelled) = tokio::join!(waiter, cancel);
    assert_eq!((cancelled.status, &cancelled.body["status"]), (StatusCode::OK, &json!("cancelled")), "{}", cancelled.body);
    assert_eq!(waiter.body["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_never_goes_back() {
    let bench = Bench::new().await;
    let (operation, _) = importing(&bench).await;
    let mut last = (0, 0);
    for _ in 0..20 {
        let body = bench.get(&operation).await.body;
        let now = (body["progress"].as_u64().unwrap(), body["done_bytes"].as_u64().unwrap());
        assert!(now >= last && now.0 < 100, "{last:?} then {now:?}");
        last = now;
    }
    bench.ask("POST", &format!("{operation}/cancel?wait=60"), &[], Body::empty()).await;
}
