//! Every request type of the document, at every depth: an array is no object, a key stands once, and the field is named. The types are taken
//! from the document, so a new one is tested from its first day.

use crate::bench::{Answer, Bench};
use serde_json::{Map, Value, json};

/// What refuses the shape of a body. Anything else means that the body was read.
const SHAPE: [&str; 5] = ["bad-json", "wrong-type", "unknown-field", "missing-field", "duplicate-field"];

struct Document(Value);

impl Document {
    fn new() -> Document {
        Document(serde_json::from_str(runtime::http::openapi::text()).unwrap())
    }

    /// Method, path, and an example of the body with every field that there is.
    fn requests(&self) -> Vec<(String, String, Value)> {
        let mut found = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
                    found.push((method.to_uppercase(), path.replace("{id}", "nope"), self.example(schema)));
                }
            }
        }
        found
    }

    fn example(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.example(self.0.pointer(reference.trim_start_matches('#')).unwrap());
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            if let Some(first) = schema[choice].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null")) {
                return self.example(first);
            }
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[0].clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"].as_array()?.iter().find_map(|one| one.as_str()));
        match kind {
            Some("object") => self.object(schema),
            Some("array") => json!([self.example(&schema["items"])]),
            Some("string") => json!("x"),
            Some("integer" | "number") => json!(schema["minimum"].as_u64().unwrap_or(1).max(1)),
            Some("boolean") => json!(false),
            other => panic!("an example of the type {other:?} is missing here: {schema}"),
        }
    }

    fn object(&self, schema: &Value) -> Value {
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            object.insert(name.clone(), self.example(property));
        }
        if schema["additionalProperties"].is_object() {
            object.insert("k".to_owned(), self.example(&schema["additionalProperties"]));
        }
        Value::Object(object)
    }
}

/// The JSON pointer of every object in `value` that has members.
fn objects(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            found.push(at.clone());
            members.iter().for_each(|(name, inner)| objects(inner, format!("{at}/{name}"), found));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, inner)| objects(inner, format!("{at}/{n}"), found)),
        _ => {}
    }
}

/// As serde writes a path: `spec.networks[0].name`, the whole body as `body`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(n) => path.push_str(&format!("[{n}]")),
            Err(_) if path.is_empty() => path.push_str(part),
            Err(_) => path.push_str(&format!(".{part}")),
        }
    }
    if path.is_empty() { "body".to_owned() } else { path }
}

/// The body with the object at `pointer` written by `write`.
fn with(body: &Value, pointer: &str, write: impl Fn(&Map<String, Value>) -> String) -> String {
    let mark = "\u{1}here\u{1}";
    let mut marked = body.clone();
    let place = marked.pointer_mut(pointer).unwrap();
    let object = place.as_object().unwrap().clone();
    *place = json!(mark);
    marked.to_string().replace(&json!(mark).to_string(), &write(&object))
}

async fn send(bench: &Bench, method: &str, path: &str, body: String) -> Answer {
    bench.ask(method, path, &[("content-type", "application/json")], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_type_refuses_arrays_for_objects_and_repeated_keys() {
    let bench = Bench::new().await;
    let requests = Document::new().requests();
    assert!(requests.len() >= 6, "the document has bodies: {requests:?}");
    for (method, path, body) in requests {
        let read = send(&bench, &method, &path, body.to_string()).await;
        assert!(!SHAPE.contains(&read.code()), "{method} {path}: the example {body} is not read: {}", read.body);
        let mut pointers = Vec::new();
        objects(&body, String::new(), &mut pointers);
        assert!(!pointers.is_empty(), "{method} {path} has no fields");
        for pointer in pointers {
            let array = with(&body, &pointer, |object| Value::Array(object.values().cloned().collect()).to_string());
            let answer = send(&bench, &method, &path, array.clone()).await;
            assert_eq!(answer.status, 400, "{method} {path} takes {array}: {}", answer.body);
            answer.refuses(400, "wrong-type", &dotted(&pointer));
            repeated(&bench, (&method, &path), &body, &pointer).await;
        }
    }
}

/// Each key of the object twice, with the same value.
async fn repeated(bench: &Bench, (method, path): (&str, &str), body: &Value, pointer: &str) {
    let keys: Vec<String> = body.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
    for key in keys {
        let twice = with(body, pointer, |object| {
            let text = Value::Object(object.clone()).to_string();
            format!("{{{}:{},{}", json!(key), object[&key], &text[1..])
        });
        let answer = send(bench, method, path, twice.clone()).await;
        assert_eq!(answer.status, 400, "{method} {path} takes {twice}: {}", answer.body);
        answer.refuses(400, "duplicate-field", &dotted(&format!("{pointer}/{key}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_no_objects_and_nothing_is_made() {
    let bench = Bench::with_images().await;
    let mut vm = bench.vm("a");
    vm["spec"]["restart"] = json!({"never": null});
    bench.post("/v1/vms", &vm).await.refuses(400, "wrong-type", "spec.restart");
    vm["spec"] = json!(["h", 1, 128, null, "rootfs", null, null, [], "never"]);
    bench.post("/v1/vms", &vm).await.refuses(400, "wrong-type", "spec");
    assert_eq!(bench.get("/v1/vms").await.body["items"], json!([]));
}
