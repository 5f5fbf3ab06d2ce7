//! Webhooks against real receivers on loopback: in order, each at least once, and visible when it went wrong.

use crate::bench::{Bench, until};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use runtime::deliver::{parse_secret, signature};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// A receiver that answers from a list, then 200, and keeps what it took and what it refused.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    answers: VecDeque<u16>,
    /// Until it is changed, instead of 200.
    always: Option<u16>,
    taken: Vec<(HeaderMap, Bytes)>,
    refused: Vec<(HeaderMap, Bytes)>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> (Receiver, String) {
        let receiver = Receiver::default();
        receiver.0.lock().unwrap().answers = answers.iter().copied().collect();
        let app = Router::new().route("/", post(take)).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, url)
    }

    fn always(&self, status: Option<u16>) {
        self.0.lock().unwrap().always = status;
    }

    /// Cursors that it took, in the order of their arrival.
    fn cursors(&self) -> Vec<u64> {
        let bodies = self.0.lock().unwrap().taken.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>();
        bodies.iter().flat_map(|body| cursors(body)).collect()
    }

    fn refusals(&self) -> usize {
        self.0.lock().unwrap().refused.len()
    }
}

fn cursors(body: &[u8]) -> Vec<u64> {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["events"].as_array().unwrap().iter().map(|event| event["cursor"].as_u64().unwrap()).collect()
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let mut inner = receiver.0.lock().unwrap();
    let status = inner.answers.pop_front().or(inner.always).unwrap_or(200);
    if (200..300).contains(&status) {
        inner.taken.push((headers, body));
    } else {
        inner.refused.push((headers, body));
    }
    StatusCode::from_u16(status).unwrap()
}

async fn hook(bench: &Bench, name: &str, spec: Value) -> Value {
    let answer = bench.post("/v1/webhooks", &json!({"name": name, "spec": spec, "after": 0})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

async fn status(bench: &Bench, name: &str) -> Value {
    bench.get(&format!("/v1/webhooks/{name}")).await.body["status"].clone()
}

/// Some events more; answers the newest cursor.
async fn happen(bench: &Bench, names: &[&str]) -> u64 {
    for name in names {
        bench.post("/v1/vms?wait=10", &bench.vm(name)).await;
    }
    bench.node.journal().latest()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_in_order_and_signed() {
    let bench = Bench::with_images().await;
    let (receiver, url) = Receiver::start(&[500, 200, 503]).await;
    let made = hook(&bench, "a", json!({"url": url})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let latest = happen(&bench, &["x", "y", "z"]).await;
    until("all is delivered", async || receiver.cursors().last() >= Some(&latest)).await;
    // Its own creation is the one thing that it is not told.
    let own = bench.node.journal().read(0, 1000).unwrap();
    let own = own.iter().find(|(_, bytes)| actors::decode_event(bytes).unwrap().id == id).unwrap().0;
    let expected: Vec<u64> = (1..=latest).filter(|cursor| *cursor != own).collect();
    let mut got = receiver.cursors();
    got.retain(|cursor| *cursor <= latest);
    assert_eq!(got, expected, "each once and in order");
    assert!(receiver.refusals() >= 1, "the receiver refused at first");

    let secret = parse_secret(made["secret"].as_str().unwrap()).unwrap();
    let inner = receiver.0.lock().unwrap();
    let mut ids = Vec::new();
    for (headers, body) in inner.taken.iter().chain(&inner.refused) {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let at: u64 = text("webhook-timestamp").parse().unwrap();
        assert_eq!(text("webhook-signature"), signature(&secret, &text("webhook-id"), at, body));
        ids.push((text("webhook-id"), body.clone()));
    }
    // What was refused came again under its id, byte for byte.
    let (again, body) = inner.refused.first().map(|(headers, body)| (headers["webhook-id"].clone(), body.clone())).unwrap();
    assert!(inner.taken.iter().any(|(headers, taken)| headers["webhook-id"] == again && *taken == body));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_is_a_dead_letter_that_can_be_sent_again() {
    let bench = Bench::with_images().await;
    let (receiver, url) = Receiver::start(&[]).await;
    receiver.always(Some(500));
    hook(&bench, "a", json!({"url": url, "retry_for_s": 0, "filter": {"kinds": ["image"]}})).await;
    until("it is set aside", async || status(&bench, "a").await["dead_letters"] == 1).await;
    let letters = bench.get("/v1/webhooks/a/dead-letters").await.body;
    let letter = &letters["items"][0];
    assert_eq!((&letter["code"], &letter["attempts"]), (&"http-status".into(), &1.into()), "{letter}");
    let lost: Vec<u64> = letter["events"].as_array().unwrap().iter().map(|event| event["cursor"].as_u64().unwrap()).collect();
    assert!(!lost.is_empty() && letter["events"][0]["kind"] == "image", "{letter}");
    assert!(receiver.cursors().is_empty());
    // The event stream tells it; a webhook that wants everything does not, or it would go on for ever.
    let events = bench.node.journal().read(0, 1000).unwrap();
    let told = events.iter().filter(|(_, bytes)| actors::decode_event(bytes).unwrap().event == "webhook-dead-lettered").count();
    assert_eq!(told, 1);

    // Once more while it still fails: it stays.
    let again = bench.post("/v1/webhooks/a/redeliver", &json!({})).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    until("it was tried", async || receiver.refusals() == 2 && status(&bench, "a").await["redelivering"] == 0).await;
    assert_eq!(status(&bench, "a").await["dead_letters"], 1);
    // And when the receiver is mended it goes, with the same events under the same id.
    receiver.always(None);
    bench.post("/v1/webhooks/a/redeliver", &json!({"deliveries": [letter["delivery"]]})).await;
    until("it is taken", async || status(&bench, "a").await["dead_letters"] == 0).await;
    assert_eq!(receiver.cursors(), lost);
    for table in ["webhook-dead-letters", "webhook-dead-events"] {
        assert_eq!(bench.node.journal().load(table).unwrap().records.len(), 0, "{table} keeps what was taken");
    }
    let ids = {
        let inner = receiver.0.lock().unwrap();
        [inner.taken[0].0["webhook-id"].clone(), inner.refused[0].0["webhook-id"].clone()]
    };
    assert_eq!(ids[0], ids[1]);
    bench.post("/v1/webhooks/a/redeliver", &json!({"deliveries": [99]})).await.refuses(422, "no-such-dead-letter", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_webhooks_that_fail_do_not_feed_one_another() {
    let bench = Bench::new().await;
    let (receiver, url) = Receiver::start(&[]).await;
    receiver.always(Some(500));
    for name in ["a", "b"] {
        hook(&bench, name, json!({"url": url, "retry_for_s": 0})).await;
    }
    until("both have given up all there was", async || {
        let (a, b) = (status(&bench, "a").await, status(&bench, "b").await);
        a["behind"] == 0 && b["behind"] == 0 && a["state"] == "active" && b["state"] == "active"
    })
    .await;
    let inner = receiver.0.lock().unwrap();
    let fed = |(_, body): &(HeaderMap, Bytes)| String::from_utf8_lossy(body).contains("webhook-dead-lettered");
    assert!(!inner.refused.is_empty() && !inner.refused.iter().any(fed), "a failure was sent on");
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_and_enabling_goes_on_where_it_was() {
    let bench = Bench::with_images().await;
    let (receiver, url) = Receiver::start(&[410]).await;
    hook(&bench, "a", json!({"url": url, "filter": {"kinds": ["image"]}})).await;
    until("it is disabled", async || status(&bench, "a").await["state"] == "disabled").await;
    let seen = bench.get("/v1/webhooks/a").await;
    assert_eq!((&seen.body["status"]["reason"]["code"], &seen.body["spec"]["enabled"]), (&"receiver-gone".into(), &false.into()));
    bench.post("/v1/webhooks/a/redeliver", &json!({})).await.refuses(409, "webhook-disabled", "");
    let etag = seen.headers["etag"].to_str().unwrap().to_owned();
    let json = ("content-type", "application/json");
    let stale = bench.ask("PATCH", "/v1/webhooks/a", &[json, ("if-match", "\"1\"")], r#"{"spec":{"enabled":true}}"#).await;
    stale.refuses(412, "stale", "");
    let enabled = bench.ask("PATCH", "/v1/webhooks/a", &[json, ("if-match", &etag)], r#"{"spec":{"enabled":true}}"#).await;
    assert_eq!(enabled.status, StatusCode::OK, "{}", enabled.body);
    until("what was undelivered arrives", async || !receiver.cursors().is_empty()).await;
    let refused = receiver.0.lock().unwrap().refused[0].1.clone();
    assert_eq!(receiver.cursors()[0], cursors(&refused)[0], "from the same event on");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_went_while_the_receiver_was_away_are_told_as_a_resync() {
    let bench = Bench::keeping(8).await;
    let (receiver, url) = Receiver::start(&[]).await;
    receiver.always(Some(503));
    hook(&bench, "a", json!({"url": url, "filter": {"kinds": ["image"]}})).await;
    bench.images().await;
    until("it is being retried", async || status(&bench, "a").await["state"] == "retrying").await;
    for n in 0..400 {
        if bench.node.journal().oldest() > status(&bench, "a").await["cursor"].as_u64().unwrap() + 3 {
            break;
        }
        bench.post("/v1/vms?wait=10", &bench.vm(&format!("vm-{n}"))).await;
    }
    receiver.always(None);
    until("it is told", async || {
        receiver.0.lock().unwrap().taken.iter().any(|(_, body)| String::from_utf8_lossy(body).contains("\"type\":\"resync\""))
    })
    .await;
    until("and goes on", async || status(&bench, "a").await["behind"].as_u64().unwrap() < 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_shown_once_and_kept_from_everything_else() {
    let bench = Bench::new().await;
    let secret = "whsec_c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1l";
    let wanted = json!({"name": "a", "spec": {"url": "http://127.0.0.1:1/"}, "secret": secret});
    let first = bench.keyed("/v1/webhooks", "key-1", &wanted).await;
    assert_eq!((first.status, first.body["secret"].as_str()), (StatusCode::OK, Some(secret)), "{}", first.body);
    // The same request again is the same webhook, and its answer; another name for it is none.
    let again = bench.keyed("/v1/webhooks", "key-1", &wanted).await;
    assert_eq!((&again.body["id"], &again.body["secret"]), (&first.body["id"], &first.body["secret"]));
    bench.post("/v1/webhooks", &wanted).await.refuses(409, "name-taken", "");
    for path in ["/v1/webhooks/a", "/v1/webhooks"] {
        assert!(!bench.get(path).await.body.to_string().contains("whsec_"), "{path}");
    }
    let wrong = json!({"name": "b", "spec": {"url": "http://127.0.0.1:1/"}, "secret": "whsec_c2hvcnQ="});
    let refused = bench.post("/v1/webhooks", &wrong).await;
    refused.refuses(422, "invalid-secret", "secret");
    assert!(!refused.body.to_string().contains("c2hvcnQ"), "{}", refused.body);
    // Neither in clear nor as it is shown: in no file but its own.
    bench.node.stop().await;
    let mut holders = Vec::new();
    for entry in walk(bench.dir.path()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        if holds(b"sesamesesame") || holds(b"c2VzYW1lc2VzYW1l") {
            holders.push(entry);
        }
    }
    assert_eq!(holders, [bench.dir.path().join("secrets").join(first.body["id"].as_str().unwrap())]);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_receiver_is_refused_naming_the_field() {
    let bench = Bench::new().await;
    let make = async |spec: Value| bench.post("/v1/webhooks", &json!({"name": "a", "spec": spec})).await;
    for url in ["ftp://a/", "http://user:hunter2@a/", "file:///etc/passwd", "a", "http://a/#b"] {
        let refused = make(json!({"url": url})).await;
        refused.refuses(422, "invalid-spec", "spec.url");
        assert!(!refused.body.to_string().contains("hunter2"), "{}", refused.body);
    }
    make(json!({"url": "http://a/", "timeout_s": 31})).await.refuses(422, "invalid-spec", "spec.timeout_s");
    make(json!({"url": "http://a/", "filter": {"kinds": ["stream"]}})).await.refuses(422, "invalid-spec", "spec.filter.kinds");
    assert_eq!(make(json!({"url": "http://a/", "color": "red"})).await.status, StatusCode::BAD_REQUEST);
    let ahead = json!({"name": "a", "spec": {"url": "http://a/"}, "after": 1_000_000});
    bench.post("/v1/webhooks", &ahead).await.refuses(422, "cursor-ahead", "");
    bench.get("/v1/webhooks/nobody").await.refuses(404, "webhook-not-found", "");
    assert_eq!(bench.get("/v1/webhooks").await.body["items"], json!([]), "a refusal leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_tells_how_it_ended_and_a_deleted_webhook_leaves_nothing() {
    let bench = Bench::new().await;
    let (receiver, url) = Receiver::start(&[204, 500]).await;
    let made = bench.post("/v1/webhooks", &json!({"name": "a", "spec": {"url": url, "enabled": false}})).await.body;
    let test = async || bench.post("/v1/webhooks/a/test", &json!({})).await.body;
    assert_eq!((&test().await["ok"], receiver.cursors().len()), (&true.into(), 1));
    let failed = test().await;
    assert_eq!((&failed["ok"], &failed["status"], &failed["code"]), (&false.into(), &500.into(), &"http-status".into()));
    assert_eq!(status(&bench, "a").await["delivered"], 0, "a test is no delivery");
    assert_eq!(bench.delete("/v1/webhooks/a").await.status, StatusCode::OK);
    bench.get("/v1/webhooks/a").await.refuses(404, "webhook-not-found", "");
    let secret = bench.dir.path().join("secrets").join(made["id"].as_str().unwrap());
    until("its secret is gone", async || !secret.exists()).await;
    // Its name is free again.
    assert_eq!(bench.post("/v1/webhooks", &json!({"name": "a", "spec": {"url": url}})).await.status, StatusCode::OK);
}
