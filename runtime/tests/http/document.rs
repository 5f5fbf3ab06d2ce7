//! The OpenAPI document: committed as it is generated, and nothing answers outside of it.

use crate::bench::Bench;
use serde_json::Value;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

/// To accept a change: HEARTH_BLESS=1 cargo test -p hearth-runtime --test http.
#[test]
fn the_committed_document_is_the_generated_one() {
    let generated = runtime::http::openapi::text();
    if std::env::var_os("HEARTH_BLESS").is_some() {
        std::fs::write(COMMITTED, generated).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/openapi.json is not what the routes say: run this test with HEARTH_BLESS=1 and look at the difference"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_served_and_every_operation_tells_its_errors() {
    let bench = Bench::new().await;
    let document: Value = serde_json::from_str(runtime::http::openapi::text()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.contains_key("Problem") && schemas.contains_key("Vm"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("401") && responses.contains_key("503"), "{method} {path}");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path} says nothing");
            // Not `down`: it would be obeyed.
            if path == "/v1/node/down" {
                continue;
            }
            let answer = bench.ask(&method.to_uppercase(), &path.replace("{id}", "nope"), &[], "").await;
            let status = answer.status.as_str().to_owned();
            assert!(
                responses.contains_key(&status),
                "{method} {path} answers {status}, which the document does not know: {}",
                answer.body
            );
            assert_ne!(answer.status, 500, "{method} {path}");
            assert_ne!(answer.code(), "unknown-path", "{method} {path}");
        }
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_and_every_response_a_description() {
    let document: Value = serde_json::from_str(runtime::http::openapi::text()).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{method} {path}: {id} is another operation's");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
            }
        }
    }
}

#[test]
fn all_references_are_there() {
    let text = runtime::http::openapi::text();
    let document: Value = serde_json::from_str(text).unwrap();
    for name in text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}
