//! What a guest reads from its metadata service, as any program in it would: by HTTP, with a token of a session.

use crate::contract::{HELLO, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::network::{TAP, in_namespace, network, plan};
use host::{
    guest::GuestSession,
    vmm::{MachinePlan, Vmm},
};

/// One request; busybox's wget knows no PUT. The service leaves the connection open, so that nc is ended.
async fn asked(guest: &dyn GuestSession, request: &str) -> String {
    let script = format!("printf '{request}' | timeout 5 nc 169.254.169.254 80");
    output(guest, &["sh", "-c", &script]).await
}

async fn token(guest: &dyn GuestSession) -> String {
    let put = "PUT /latest/api/token HTTP/1.1\\r\\nX-metadata-token-ttl-seconds: 60\\r\\n\\r\\n";
    let token = asked(guest, put).await;
    assert!(token.starts_with("HTTP/1.1 200"), "{token}");
    token.lines().last().unwrap().trim().to_owned()
}

async fn got(guest: &dyn GuestSession, token: &str, path: &str, accept: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\\r\\nX-metadata-token: {token}\\r\\nAccept: {accept}\\r\\n\\r\\n");
    let answer = asked(guest, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer.lines().last().unwrap().to_owned()
}

/// What the user's object says under this name.
pub async fn role(guest: &dyn GuestSession) -> String {
    let token = token(guest).await;
    got(guest, &token, "/role", "text/plain").await
}

#[test]
fn a_guest_reads_its_metadata_with_a_token_and_not_without() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("a_guest_reads_its_metadata_with_a_token_and_not_without").await else { return };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        assert!(driver.capabilities().metadata);
        let plan = MachinePlan { metadata: Some("{\"role\":\"web\",\"list\":[1,2]}".into()), ..plan(&lab, &*network).await };
        let machine = start(&driver, &plan, 1).await;
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let refused = asked(&*guest, "GET /role HTTP/1.1\\r\\n\\r\\n").await;
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        let token = token(&*guest).await;
        let get = async |path: &str, accept: &str| got(&*guest, &token, path, accept).await;
        assert_eq!(get("/role", "text/plain").await, "web");
        assert_eq!(get("/hearth/name", "text/plain").await, plan.hostname);
        let all: serde_json::Value = serde_json::from_str(&get("/", "application/json").await).unwrap();
        assert_eq!((&all["list"], &all["hearth"]["id"]), (&serde_json::json!([1, 2]), &lab.vm.to_string().into()), "{all}");
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
        network.detach(TAP).await.unwrap();
        lab.left_nothing(&driver).await;
    });
}
