//! What the host's driver can and can't do: shown, and refused by, in the same words.

use crate::bench::{Bench, TOKEN};
use api::v1;
use axum::body::Body;
use domain::host::Capabilities;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

async fn host(bench: &Bench) -> Value {
    bench.get("/v1/hosts").await.body["items"][0].clone()
}

async fn running(bench: &Bench) -> Value {
    let mut vm = bench.vm("a");
    vm["start"] = json!(true);
    let answer = bench.post("/v1/vms?wait=30", &vm).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    bench.get("/v1/vms/a").await.body
}

fn acts(vm: &Value, action: &str) -> bool {
    vm["status"]["actions"].as_array().unwrap().contains(&json!(action))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_can_not_pause_says_so_everywhere() {
    let can = Capabilities { guest_agent: true, ..Capabilities::NONE };
    let bench = Bench::able(can).await;
    let shown = host(&bench).await["status"]["capabilities"].clone();
    assert_eq!((&shown["pause"], &shown["guest_agent"]), (&json!(false), &json!(true)), "{shown}");
    let vm = running(&bench).await;
    let sentence = "the simulated driver can't pause VMs";
    assert!(!acts(&vm, "pause"));
    assert_eq!(vm["status"]["refused"]["pause"], sentence, "{vm}");
    let refused = bench.ask("POST", "/v1/vms/a/pause", &[], Body::empty()).await;
    refused.refuses(409, "unsupported-by-driver", "");
    assert_eq!(refused.body["detail"], sentence);
    assert!(refused.body["hint"].as_str().unwrap().contains("hearth host get"), "{}", refused.body);
    // One that is paused, for an earlier driver could, is let go on.
    bench.ask("POST", "/v1/vms/a/resume", &[], Body::empty()).await.refuses(409, "vm-not-paused", "");
    assert!(acts(&vm, "exec") && acts(&vm, "stop"), "{vm}");
    assert_eq!(bench.get("/v1/vms/a").await.body["generation"], vm["generation"], "a refusal changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_there_are_no_programs() {
    let bench = Bench::able(Capabilities { pause: true, ..Capabilities::NONE }).await;
    let vm = running(&bench).await;
    let sentence = "the simulated driver can't reach the guest's agent";
    assert_eq!((&vm["status"]["refused"]["shell"], &vm["status"]["refused"]["exec"]), (&json!(sentence), &json!(sentence)));
    let exec = bench.post("/v1/vms/a/exec", &json!({"command": ["true"]})).await;
    exec.refuses(409, "unsupported-by-driver", "");
    assert!(acts(&vm, "pause"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_driver_can_what_it_says_and_no_more() {
    let bench = Bench::with_images().await;
    let capabilities: v1::Facts = serde_json::from_value(host(&bench).await["status"]["capabilities"].clone()).unwrap();
    let (can, can_not) = (capabilities.words(true), capabilities.words(false));
    // By name, as `Value` keeps them.
    assert_eq!(can, "balloon, disk rate limit, guest agent, memory hotplug, metadata, network rate limit, pause, power off told");
    assert!(can_not.contains("snapshot") && can_not.contains("jailed"), "{can_not}");
    assert!(acts(&running(&bench).await, "pause"));
    assert_eq!(bench.ask("POST", "/v1/vms/a/pause?wait=30", &[], Body::empty()).await.status.as_u16(), 200);
}

/// Read, it goes on; typed into, it ends with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn typing_into_a_console_that_takes_nothing_is_told() {
    let bench = Bench::with_images().await;
    running(&bench).await;
    let address = bench.listen().await;
    let mut request = format!("ws://{address}/v1/vms/a/console").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    socket.send(Message::binary(b"help\n".to_vec())).await.unwrap();
    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let frame = tokio::time::timeout(std::time::Duration::from_secs(20), closed).await.unwrap().unwrap();
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (1008, "the simulated driver takes no input on the serial console")
    );
}
