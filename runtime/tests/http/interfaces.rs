//! Network interfaces as clients ask for them and see them.

use crate::bench::{Answer, Bench};
use serde_json::{Value, json};

const MAC: &str = "02:00:00:00:00:0a";

async fn made(bench: &Bench, name: &str, networks: &Value) -> Answer {
    let mut vm = bench.vm(name);
    vm["start"] = json!(false);
    vm["spec"]["networks"] = networks.clone();
    bench.post("/v1/vms?wait=30", &vm).await
}

async fn patched(bench: &Bench, name: &str, networks: &Value) -> Answer {
    let body = json!({ "spec": { "networks": networks } }).to_string();
    bench.ask("PATCH", &format!("/v1/vms/{name}"), &[("content-type", "application/json")], body).await
}

fn macs(vm: &Value) -> Vec<&str> {
    vm["status"]["interfaces"].as_array().unwrap().iter().map(|interface| interface["mac"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_shown_as_asked_and_as_given() {
    let bench = Bench::with_images().await;
    let asked = json!(["default", { "network": "default", "mac": "02:00:00:00:00:0A" }, { "network": "default" }]);
    let answer = made(&bench, "a", &asked).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let vm = bench.get("/v1/vms/a").await.body;
    assert_eq!(vm["spec"]["networks"], json!(["default", { "network": "default", "mac": MAC }, "default"]));
    let status = &vm["status"];
    let interfaces = status["interfaces"].as_array().unwrap();
    assert_eq!(interfaces.len(), 3);
    assert_eq!((&interfaces[1]["mac"], &interfaces[1]["network"]), (&json!(MAC), &json!("default")));
    assert_eq!((&status["mac"], &status["ips"][0]), (&interfaces[0]["mac"], &interfaces[0]["address"]));
    let given: Vec<_> = interfaces.iter().map(|interface| interface["address"].clone()).collect();
    assert_eq!(status["ips"], json!(given));
    // What was shown can be sent back, and is what it was.
    let same = patched(&bench, "a", &vm["spec"]["networks"]).await;
    assert_eq!((same.status.as_u16(), &same.body["status"]["interfaces"]), (200, &status["interfaces"]), "{}", same.body);
    // One without a network, and one where nothing is said, as ever.
    assert_eq!(made(&bench, "none", &json!([])).await.status.as_u16(), 200);
    let none = bench.get("/v1/vms/none").await.body;
    assert_eq!(
        (&none["spec"]["networks"], none["status"].get("interfaces"), none["status"].get("mac")),
        (&json!([]), None, None)
    );
    let answer = bench.post("/v1/vms?wait=30", &bench.vm("plain")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let plain = bench.get("/v1/vms/plain").await.body;
    assert_eq!((&plain["spec"]["networks"], macs(&plain).len()), (&json!(["default"]), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_by_its_field() {
    let bench = Bench::with_images().await;
    let with = |mac: &str| json!([{ "network": "default", "mac": mac }]);
    for (networks, field) in [
        (json!(["lan"]), "spec.networks"),
        (json!(vec!["default"; 9]), "spec.networks"),
        (json!([{ "network": "default", "mac": MAC }, { "network": "default", "mac": MAC }]), "spec.networks"),
        (with("01:00:00:00:00:01"), "spec.networks[0].mac"),
        (with("00:00:00:00:00:00"), "spec.networks[0].mac"),
        (with("02:00"), "spec.networks[0].mac"),
    ] {
        made(&bench, "a", &networks).await.refuses(422, "invalid-spec", field);
    }
    made(&bench, "a", &json!([{ "network": "default", "colour": 1 }])).await.refuses(
        400,
        "unknown-field",
        "spec.networks[0].colour",
    );
    made(&bench, "a", &json!([{ "mac": MAC }])).await.refuses(400, "missing-field", "spec.networks[0].network");
    made(&bench, "a", &json!([7])).await.refuses(400, "wrong-type", "spec.networks[0]");
    assert_eq!(bench.get("/v1/vms").await.body["items"], json!([]), "a refusal leaves nothing");
    assert_eq!(made(&bench, "a", &with(MAC)).await.status.as_u16(), 200);
    let taken = made(&bench, "b", &json!(["default", { "network": "default", "mac": MAC }])).await;
    taken.refuses(409, "mac-taken", "spec.networks");
    let detail = taken.body["detail"].as_str().unwrap();
    assert!(detail.contains("the VM a has") && detail.contains(MAC), "{detail}");
    assert_eq!(made(&bench, "b", &json!(["default"])).await.status.as_u16(), 200);
    patched(&bench, "b", &with(MAC)).await.refuses(409, "mac-taken", "spec.networks");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_change_while_it_is_stopped_and_what_stays_keeps_its_address() {
    let bench = Bench::with_images().await;
    assert_eq!(made(&bench, "a", &json!(["default"])).await.status.as_u16(), 200);
    let first = bench.get("/v1/vms/a").await.body["status"]["interfaces"][0].clone();
    let two = patched(&bench, "a", &json!([{ "network": "default", "mac": MAC }, "default"])).await;
    assert_eq!((two.status.as_u16(), &two.body["status"]["interfaces"][1]), (200, &first), "{}", two.body);
    let started = bench.ask("POST", "/v1/vms/a/start?wait=30", &[], "").await;
    assert_eq!(started.status.as_u16(), 200, "{}", started.body);
    let refused = patched(&bench, "a", &json!(["default"])).await;
    refused.refuses(409, "only-when-stopped", "");
    assert!(refused.body["detail"].as_str().unwrap().contains("network interfaces"), "{}", refused.body);
    let answer = bench.post("/v1/vms/a/stop?wait=30", &json!({ "force": true })).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let none = patched(&bench, "a", &json!([])).await;
    assert_eq!((none.status.as_u16(), &none.body["status"]["ips"]), (200, &json!([])), "{}", none.body);
    // Another one may have that MAC now.
    let other = made(&bench, "b", &json!([{ "network": "default", "mac": MAC }])).await;
    assert_eq!(other.status.as_u16(), 200, "{}", other.body);
}
