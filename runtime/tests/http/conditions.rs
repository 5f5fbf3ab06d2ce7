//! Conditions (RFC 9110, 13): every change of every kind, the tag that is current, lists, weak tags, and reads.

use crate::bench::{Answer, Bench};
use axum::{body::Body, http::StatusCode};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn change(bench: &Bench, method: &str, path: &str, tag: &str) -> Answer {
    let body = if method == "PATCH" { "{\"labels\":{\"k\":\"v\"}}" } else { "" };
    bench.ask(method, path, &[JSON, ("if-match", tag)], body).await
}

async fn tag(bench: &Bench, path: &str) -> String {
    bench.get(path).await.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_every_kind_has_a_condition() {
    let bench = Bench::with_images().await;
    bench.post("/v1/vms?wait=30", &bench.vm("a")).await;
    let host = format!("/v1/hosts/{}", bench.get("/v1/hosts").await.body["items"][0]["name"].as_str().unwrap());
    let changes = [
        ("PATCH", "/v1/vms/a".to_owned(), ""),
        ("DELETE", "/v1/vms/a".to_owned(), ""),
        ("POST", "/v1/vms/a".to_owned(), "/start"),
        ("POST", "/v1/vms/a".to_owned(), "/stop"),
        ("POST", "/v1/vms/a".to_owned(), "/pause"),
        ("POST", "/v1/vms/a".to_owned(), "/resume"),
        ("POST", "/v1/vms/a".to_owned(), "/reboot"),
        ("PATCH", "/v1/images/rootfs".to_owned(), ""),
        ("DELETE", "/v1/images/kernel".to_owned(), ""),
        ("PATCH", host.clone(), ""),
        ("POST", host.clone(), "/cordon"),
        ("POST", host, "/uncordon"),
    ];
    for (method, resource, action) in changes {
        let current = tag(&bench, &resource).await;
        for wrong in ["\"999\"", "\"998\", \"999\"", "\"never-ours\"", &format!("W/{current}")] {
            let answer = change(&bench, method, &format!("{resource}{action}"), wrong).await;
            answer.refuses(412, "stale", "");
            assert_eq!(answer.headers["etag"], current, "{method} {resource}{action} tells the tag that would do");
        }
        assert_eq!(tag(&bench, &resource).await, current, "{method} {resource}{action} changed nothing");
    }
    let body = "{\"command\":[\"true\"]}";
    let exec = bench.ask("POST", "/v1/vms/a/exec", &[JSON, ("if-match", "\"999\"")], body).await;
    exec.refuses(412, "stale", "");
    for (path, body) in
        [("/v1/vms", bench.vm("b")), ("/v1/images", serde_json::json!({"name": "x", "spec": {"kind": "kernel", "path": "/x"}}))]
    {
        bench.ask("POST", path, &[JSON, ("if-match", "\"1\"")], body.to_string()).await.refuses(412, "stale", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_holds_lets_the_change_through() {
    let bench = Bench::with_images().await;
    bench.post("/v1/vms?wait=30", &bench.vm("a")).await;
    let current = tag(&bench, "/v1/vms/a").await;
    for good in [format!("\"999\", {current}"), "*".to_owned()] {
        let answer = change(&bench, "PATCH", "/v1/vms/a", &good).await;
        assert_eq!(answer.status, StatusCode::OK, "{good}: {}", answer.body);
        assert_eq!(answer.headers["etag"].to_str().unwrap(), tag(&bench, "/v1/vms/a").await, "the new tag is told");
    }
    change(&bench, "PATCH", "/v1/vms/nope", "*").await.refuses(404, "vm-not-found", "");
    // Of two who have seen the same, one changes it.
    let current = tag(&bench, "/v1/vms/a").await;
    let both = futures_util::future::join_all((0..8).map(|_| change(&bench, "PATCH", "/v1/vms/a", &current))).await;
    assert_eq!(both.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    assert_eq!(both.iter().filter(|answer| answer.status == StatusCode::PRECONDITION_FAILED).count(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_what_the_client_has_is_not_sent_again() {
    let bench = Bench::with_images().await;
    let created = bench.post("/v1/vms?wait=30", &bench.vm("a")).await;
    let host = format!("/v1/hosts/{}", bench.get("/v1/hosts").await.body["items"][0]["name"].as_str().unwrap());
    let operation = created.headers["location"].to_str().unwrap().to_owned();
    for path in ["/v1/vms/a", "/v1/images/rootfs", &host, &operation] {
        let current = tag(&bench, path).await;
        for known in [current.clone(), format!("W/{current}"), format!("\"999\", {current}"), "*".to_owned()] {
            let answer = bench.ask("GET", path, &[("if-none-match", &known)], Body::empty()).await;
            assert_eq!(
                (answer.status, answer.headers["etag"].to_str().unwrap()),
                (StatusCode::NOT_MODIFIED, &*current),
                "{path} {known}"
            );
        }
        let answer = bench.ask("GET", path, &[("if-none-match", "\"999\"")], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}
