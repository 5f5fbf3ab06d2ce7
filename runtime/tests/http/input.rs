//! Bad input: each answer names what is wrong, and nothing has happened.

use crate::bench::{Bench, TOKEN};
use axum::{body::Body, http::Request};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_strictly() {
    let bench = Bench::with_images().await;
    let spec = |change: serde_json::Value| {
        let mut vm = bench.vm("a");
        vm["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        vm
    };
    let post = async |body: serde_json::Value| bench.post("/v1/vms", &body).await;
    post(json!({"name": "a", "spec": {"vcpus": 1, "mem_mib": 128, "image": "rootfs"}, "colour": 1})).await.refuses(
        400,
        "unknown-field",
        "colour",
    );
    post(spec(json!({"colour": 1}))).await.refuses(400, "unknown-field", "spec.colour");
    post(spec(json!({"vcpus": "2"}))).await.refuses(400, "wrong-type", "spec.vcpus");
    post(spec(json!({"vcpus": -1}))).await.refuses(400, "wrong-type", "spec.vcpus");
    post(spec(json!({"restart": "sometimes"}))).await.code_is_400();
    post(json!({"name": "a", "spec": {"vcpus": 1, "image": "rootfs"}})).await.refuses(400, "missing-field", "spec.mem_mib");
    post(json!([])).await.code_is_400();
    post(spec(json!({"vcpus": 0}))).await.refuses(422, "invalid-spec", "spec.vcpus");
    post(spec(json!({"mem_mib": 4_000_000_000u32}))).await.refuses(422, "invalid-spec", "spec.mem_mib");
    post(spec(json!({"disk_mib": 0}))).await.refuses(422, "invalid-spec", "spec.disk_mib");
    post(spec(json!({"networks": ["lan"]}))).await.refuses(422, "invalid-spec", "spec.networks");
    post(spec(json!({"image": "nope"}))).await.refuses(422, "unknown-image", "spec.image");
    post(json!({"name": "No Good", "spec": {"vcpus": 1, "mem_mib": 128, "image": "rootfs"}})).await.refuses(
        422,
        "invalid-name",
        "name",
    );
    assert_eq!(bench.get("/v1/vms").await.body["items"], json!([]), "nothing was made");
}

impl crate::bench::Answer {
    #[track_caller]
    fn code_is_400(&self) {
        assert_eq!(self.status, 400, "{}", self.body);
        assert!(self.code() == "wrong-type" || self.code() == "unknown-field", "{}", self.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_told_so() {
    let bench = Bench::new().await;
    let json = [("content-type", "application/json")];
    bench.ask("POST", "/v1/vms", &json, "{").await.refuses(400, "bad-json", "");
    bench.ask("POST", "/v1/vms", &json, "{} {}").await.code_is(400);
    bench.ask("POST", "/v1/vms", &json, "").await.refuses(400, "body-missing", "");
    bench.ask("POST", "/v1/vms", &json, vec![0xff, 0xfe]).await.code_is(400);
    bench.ask("POST", "/v1/vms", &[], "{}").await.refuses(415, "not-json", "");
    bench.ask("POST", "/v1/vms", &[("content-type", "text/plain")], "{}").await.refuses(415, "not-json", "");
    bench.ask("POST", "/v1/vms", &json, vec![b' '; 1024 * 1024 + 1]).await.refuses(413, "too-large", "");
    // Without a Content-Length the body itself is counted.
    let chunks = futures_util::stream::iter((0..33).map(|_| Ok::<_, std::io::Error>(vec![b' '; 32 * 1024])));
    bench.ask("POST", "/v1/vms", &json, Body::from_stream(chunks)).await.refuses(413, "too-large", "");
    let deep = "[".repeat(100_000);
    bench.ask("POST", "/v1/vms", &json, deep).await.code_is(400);
}

impl crate::bench::Answer {
    #[track_caller]
    fn code_is(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_headers_are_read_strictly() {
    let bench = Bench::with_images().await;
    for (query, code, field) in [
        ("cursor=%21%21", "bad-cursor", "cursor"),
        ("cursor=Zm9v", "bad-cursor", "cursor"),
        ("limit=0", "bad-query", "limit"),
        ("limit=1001", "bad-query", "limit"),
        ("limit=x", "bad-query", "limit"),
        ("limit=1&limit=2", "bad-query", "limit"),
        ("label=x", "bad-query", "label"),
        ("state=tired", "bad-query", "state"),
        ("colour=red", "unknown-field", "colour"),
    ] {
        bench.get(&format!("/v1/vms?{query}")).await.refuses(400, code, field);
    }
    bench.get("/v1/operations/op_x?wait=301").await.refuses(400, "bad-query", "wait");
    bench.get("/v1/events?kind=cow").await.refuses(400, "bad-query", "kind");
    bench.get("/v1/events?after=-1").await.refuses(400, "bad-query", "after");
    bench.get("/v1/events").await.refuses(406, "stream-only", "");
    bench.get("/v1/vms/x/shell").await.refuses(426, "websocket-required", "");
    bench.get("/v1/vms/%ff").await.refuses(400, "bad-path", "");
    bench.post("/v1/vms?wait=5", &bench.vm("a")).await.code_is(200);
    let patch = async |tag: &str| {
        bench
            .ask("PATCH", "/v1/vms/a", &[("content-type", "application/json"), ("if-match", tag)], "{\"labels\":{\"k\":\"v\"}}")
            .await
    };
    patch("junk").await.refuses(400, "bad-if-match", "If-Match");
    patch("\"1\" \"2\"").await.refuses(400, "bad-if-match", "If-Match");
    patch("\"999\"").await.refuses(412, "stale", "");
    patch("\"never-ours\"").await.refuses(412, "stale", "");
    let tag = bench.get("/v1/vms/a").await.headers["etag"].to_str().unwrap().to_owned();
    patch(&tag).await.code_is(200);
    patch(&tag).await.refuses(412, "stale", "");
    bench.ask("POST", "/v1/vms/a/start", &[("idempotency-key", "")], Body::empty()).await.refuses(
        400,
        "bad-idempotency-key",
        "Idempotency-Key",
    );
    bench.ask("POST", "/v1/vms/a/stop", &[("content-type", "application/json")], "{\"deadline_s\":0}").await.refuses(
        422,
        "invalid-deadline",
        "deadline_s",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_the_probes_and_the_console_needs_the_token() {
    let bench = Bench::new().await;
    let plain = async |path: &str, header: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(value) = header {
            request = request.header("authorization", value);
        }
        bench.send(request.body(Body::empty()).unwrap()).await
    };
    for path in ["/v1/vms", "/v1/networks", "/v1/nothing", "/v1", "/metrics", "/openapi.json", "/v1/events", "/v1/vms/x/shell"] {
        plain(path, None).await.refuses(401, "token-missing", "");
        for wrong in ["Bearer x", "Bearer ", "Basic aaaa", TOKEN] {
            plain(path, Some(wrong)).await.refuses(401, "bad-token", "");
        }
    }
    for path in ["/healthz", "/readyz", "/", "/vms/demo", "/swagger-ui/", "/swagger-ui/swagger-initializer.js"] {
        plain(path, None).await.code_is(200);
    }
    plain("/missing.js", None).await.refuses(404, "unknown-path", "");
    plain("/v1/vms", Some(&format!("bearer {TOKEN}"))).await.code_is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_things_are_not_found() {
    let bench = Bench::new().await;
    bench.get("/v1/nothing").await.refuses(404, "unknown-path", "");
    bench.get("/v1/networks/x").await.refuses(404, "kind-not-in-this-version", "");
    bench.post("/v1/tokens", &json!({})).await.refuses(404, "kind-not-in-this-version", "");
    for (path, code) in [
        ("/v1/vms/nope", "vm-not-found"),
        ("/v1/vms/vm_01m8518g4mpkj1h161k98z9qj8", "vm-not-found"),
        ("/v1/vms/nope/metrics", "vm-not-found"),
        ("/v1/vms/nope/metrics/vmm", "vm-not-found"),
        ("/v1/vms/nope/logs", "vm-not-found"),
        ("/v1/images/nope", "image-not-found"),
        ("/v1/hosts/nope", "host-not-found"),
        ("/v1/operations/nope", "operation-not-found"),
    ] {
        bench.get(path).await.refuses(404, code, "");
    }
    let answer = bench.ask("PUT", "/v1/vms", &[], Body::empty()).await;
    answer.refuses(405, "method-not-allowed", "");
    assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
    bench.ask("POST", "/", &[], Body::empty()).await.refuses(405, "method-not-allowed", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_recovers_says_so() {
    let edge = runtime::http::Edge::new(runtime::auth::AdminToken::of(TOKEN));
    let bench = Bench { router: runtime::http::router(&edge), ..Bench::new().await };
    bench.get("/healthz").await.code_is(200);
    bench.get("/readyz").await.refuses(503, "starting", "");
    let answer = bench.get("/v1/vms").await;
    answer.refuses(503, "starting", "");
    assert_eq!(answer.headers["retry-after"], "1");
}
