//! What no generator of valid and invalid documents says: broken JSON of every kind to every operation, and nonsense over WebSockets and
//! streams. Each answer is one of the document, none is a 500, no handler panics, and the server goes on. The seed is printed; HEARTH_FUZZ_SEED
//! repeats a run.

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use hearth_tests::{
    Options, Server,
    dice::Dice,
    guest::{create, small, waiting},
    images,
    raw::{Answer, Raw},
    scenario,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

/// Mutated bodies, over all operations: some seconds.
const MUTATIONS: usize = 600;
/// Frames of nonsense for each WebSocket.
const FRAMES: usize = 12;
/// A refusal quotes what was wrong; it is no copy of a megabyte.
const REFUSAL_MAX: usize = 16 * 1024;

/// HEARTH_FUZZ_SEED asks the same again.
fn seeded() -> Result<Dice> {
    let seed = match std::env::var("HEARTH_FUZZ_SEED") {
        Ok(seed) => seed.parse().context("HEARTH_FUZZ_SEED is a number")?,
        Err(_) => jiff::Timestamp::now().as_nanosecond() as u64,
    };
    println!("HEARTH_FUZZ_SEED={seed}");
    Ok(Dice::new(seed))
}

/// An operation that changes something, at a thing that is there.
#[derive(Debug)]
struct Operation {
    method: Method,
    path: String,
    statuses: Vec<String>,
}

/// All of the document's, but the one that ends the server.
fn operations(document: &Value, known: impl Fn(&str) -> String) -> Result<Vec<Operation>> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("methods")?.iter().filter(|(method, _)| *method != "get") {
            if path != "/v1/node/down" {
                let statuses = operation["responses"].as_object().context("responses")?.keys().cloned().collect();
                all.push(Operation { method: method.to_uppercase().parse()?, path: known(path), statuses });
            }
        }
    }
    ensure!(all.len() > 10, "{all:?}");
    Ok(all)
}

/// Never JSON, or JSON that nobody means.
fn bodies() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str| format!("{{\"labels\":{}1{}}}", open.repeat(50_000), close.repeat(50_000));
    let texts = [
        "null".to_owned(),
        "0".to_owned(),
        "\"text\"".to_owned(),
        "[]".to_owned(),
        "[{}]".to_owned(),
        "{".to_owned(),
        "{}{}".to_owned(),
        "{\"spec\":NaN}".to_owned(),
        "{\"spec\":{\"vcpus\":1e999}}".to_owned(),
        "{\"spec\":{\"vcpus\":1,\"vcpus\":2}}".to_owned(),
        "{\"labels\":{\"a\":\"1\",\"a\":\"2\"}}".to_owned(),
        "{\"spec\":[1,128,\"i\"]}".to_owned(),
        "{\"\":1}".to_owned(),
        "{\"\\u0000\":1}".to_owned(),
        "{\"name\":\"\\ud800\"}".to_owned(),
        "{\"name\":\"\\u202e\u{1f980}\u{0}\"}".to_owned(),
        "\u{feff}{}".to_owned(),
        "{\"force\":\"true\",}".to_owned(),
        "{'force':true}".to_owned(),
        "{\"deadline_s\":-1,\"force\":1}".to_owned(),
        "{\"deadline_s\":99999999999999999999}".to_owned(),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        format!("{{\"{}\":1}}", "k".repeat(900_000)),
        format!("{{\"name\":\"{}\"}}", "n".repeat(900_000)),
        format!("{{\"labels\":{{{}}}}}", (0..20_000).map(|n| format!("\"k{n}\":\"v\"")).collect::<Vec<_>>().join(",")),
    ];
    let mut all: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    all.push(vec![0xff, 0xfe, b'{', 0, b'}', 0]);
    all.push(vec![0; 1000]);
    all
}

fn judge(operation: &Operation, body: &[u8], answer: &Answer) -> Result<()> {
    let status = answer.status.as_u16();
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let what = format!(
        "{} {} with {} bytes {start:?} answers {status}: {}",
        operation.method,
        operation.path,
        body.len(),
        answer.text()
    );
    ensure!(status != 500 && operation.statuses.contains(&status.to_string()), "{what}");
    if status >= 400 {
        let code = answer.value().with_context(|| what.clone())?["code"].as_str().unwrap_or_default().to_owned();
        answer.problem(status, &code).with_context(|| what.clone())?;
        ensure!(answer.body.len() <= REFUSAL_MAX, "a refusal of {} bytes: {what}", answer.body.len());
    }
    Ok(())
}

/// Bytes put in, taken out, doubled and changed.
fn mutated(random: &mut Dice, mut body: Vec<u8>) -> Vec<u8> {
    const TOKENS: [&str; 12] = ["null", "[", "]", "{", "}", "\"", ":", ",", "NaN", "-1", "\\u0000", "1e400"];
    for _ in 0..1 + random.at(4) {
        let at = random.at(body.len() + 1);
        match random.at(4) {
            0 => drop(body.splice(at..at, random.pick(&TOKENS).bytes())),
            1 if at < body.len() => body[at] = random.roll() as u8,
            2 => drop(body.drain(at..(at + random.at(20)).min(body.len()))),
            _ => {
                let part = body[at..(at + random.at(40)).min(body.len())].to_vec();
                body.splice(at..at, part);
            }
        }
    }
    body
}

async fn stocked(machine: &hearth_tests::Machine) -> Result<Server> {
    let server = Server::start(machine, Options { images: false, ..Options::simulated() }).await?;
    images::pretend(&server).await?;
    server.client().vms().create(&create("there", small(), true), &waiting()).await?;
    Ok(server)
}

async fn is_well(server: &Server) -> Result<()> {
    let ready = Raw::anonymous(server, Method::GET, "/readyz")?.send().await?;
    ensure!(ready.status == 200, "after all that: {} {}", ready.status, ready.text());
    ensure!(!server.log().contains("panicked"), "a handler panicked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_brings_an_answer_outside_of_the_document() -> Result<()> {
    scenario("no_body_brings_an_answer_outside_of_the_document", &[], async |machine| {
        let server = stocked(&machine).await?;
        let document = Raw::new(&server, Method::GET, "/openapi.json")?.send().await?.value()?;
        let host = server.client().hosts().list(Default::default()).next().await?.context("a host")?.id;
        let image = server.client().images().list(Default::default()).next().await?.context("an image")?.id;
        let known = |path: &str| {
            let kind = path.split('/').nth(2).unwrap_or_default();
            path.replace(
                "{id}",
                match kind {
                    "vms" => "there",
                    "hosts" => &host,
                    "images" => &image,
                    _ => "nothing",
                },
            )
        };
        let operations = operations(&document, known)?;
        let send = async |operation: &Operation, media: &str, body: Vec<u8>| {
            let raw = Raw::new(&server, operation.method.clone(), &operation.path)?;
            let answer = raw.text(media, body.clone()).send().await?;
            judge(operation, &body, &answer)
        };
        for operation in &operations {
            for body in bodies() {
                send(operation, "application/json", body).await?;
            }
            for media in ["text/plain", "application/json; charset=utf-16", "application/jsonx", ";", "multipart/form-data"] {
                send(operation, media, b"{}".to_vec()).await?;
            }
        }
        let mut random = seeded()?;
        let spec = json!({"vcpus": 1, "mem_mib": 128, "image": "busybox", "networks": [], "restart": "never"});
        let whole = [
            json!({"name": "a", "labels": {"k": "v"}, "spec": spec, "start": false}),
            json!({"name": "i", "spec": {"kind": "rootfs", "path": "/nowhere", "description": "d"}}),
            json!({"force": true, "deadline_s": 5}),
            json!({"command": ["true"], "env": {"A": "b"}, "cwd": "/", "timeout_s": 1}),
            json!({"labels": {"k": "v"}}),
        ];
        for _ in 0..MUTATIONS {
            let body = random.pick(&whole).to_string().into_bytes();
            let body = mutated(&mut random, body);
            send(random.pick(&operations), "application/json", body).await?;
        }
        is_well(&server).await
    })
    .await
}

/// Connects with the token and says nonsense until it is cut off or has said all.
async fn nonsense(server: &Server, path: &str, random: &mut Dice) -> Result<()> {
    let mut request = format!("ws://127.0.0.1:{}{path}", server.port()).into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", server.token()?).parse()?);
    let (mut socket, _) = match tokio_tungstenite::connect_async(request).await {
        Ok(connected) => connected,
        // The simulated guest runs nothing, so its shell is refused; as a problem, like everything.
        Err(tungstenite::Error::Http(refused)) => {
            ensure!(refused.status().is_client_error(), "{path} is refused with {}", refused.status());
            return Ok(());
        }
        Err(error) => return Err(error).with_context(|| path.to_owned()),
    };
    for _ in 0..FRAMES {
        let frame = match random.at(9) {
            0 => Message::text("{\"resize\":{\"cols\":80,\"rows\":24}}"),
            1 => Message::text("{\"resize\":[80,24]}"),
            2 => Message::text("{\"eof\":true,\"eof\":true}"),
            3 => Message::text("{\"command\":[\"true\"]}"),
            4 => Message::text("[".repeat(random.at(100_000))),
            5 => Message::binary(vec![random.roll() as u8; random.at(70_000)]),
            6 => Message::binary(vec![0; 300_000]),
            7 => Message::Ping(vec![1; 100].into()),
            _ => Message::text("\u{1f980}\u{0}"),
        };
        // Cut off: what comes next is the reason.
        if socket.send(frame).await.is_err() {
            break;
        }
    }
    let _ = socket.send(Message::Close(None)).await;
    let ended = async {
        while let Some(Ok(frame)) = socket.next().await {
            if let Message::Close(Some(frame)) = frame {
                let code = u16::from(frame.code);
                ensure!(
                    // 1008: a console whose driver takes no input.
                    [1000, 1001, 1005, 1008, 1009, 4400, 4408].contains(&code) || code == 1011,
                    "{path} ends with {code} {}",
                    frame.reason
                );
            }
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.with_context(|| format!("{path} does not end"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_over_websockets_ends_them_and_nothing_else() -> Result<()> {
    scenario("nonsense_over_websockets_ends_them_and_nothing_else", &[], async |machine| {
        let server = stocked(&machine).await?;
        let mut random = seeded()?;
        for path in ["exec", "shell", "console", "metrics"].map(|verb| format!("/v1/vms/there/{verb}")) {
            for _ in 0..4 {
                nonsense(&server, &path, &mut random).await?;
            }
        }
        for path in ["/v1/events?after=0", "/v1/events"] {
            nonsense(&server, path, &mut random).await?;
        }
        // Requests for streams that are none.
        for (path, headers, status) in [
            ("/v1/events", vec![("upgrade", "websocket")], 400),
            ("/v1/events", vec![("upgrade", "h2c"), ("connection", "upgrade")], 400),
            ("/v1/events", vec![("accept", "text/html")], 406),
            ("/v1/vms/there/shell", vec![("accept", "text/event-stream")], 426),
            ("/v1/events?after=x", vec![("accept", "text/event-stream")], 400),
            ("/v1/vms/nothing/metrics", vec![("accept", "text/event-stream")], 404),
        ] {
            let raw = headers.iter().fold(Raw::new(&server, Method::GET, path)?, |raw, (name, value)| raw.header(name, value));
            let answer = raw.send().await?;
            ensure!(answer.status == status, "{path} with {headers:?} answers {}: {}", answer.status, answer.text());
        }
        is_well(&server).await
    })
    .await
}
