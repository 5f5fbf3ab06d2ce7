//! What a guest reads from its metadata service, as any program in it would: by HTTP, with a token of a session.

use crate::contract::{HELLO, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::network::{TAP, in_namespace, network, plan};
use domain::vm::{CloudInit, Inspection};
use host::{
    guest::GuestSession,
    vmm::{MachinePlan, Vmm},
};
use serde_json::{Value, json};

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
        let all: Value = serde_json::from_str(&get("/", "application/json").await).unwrap();
        assert_eq!((&all["list"], &all["hearth"]["id"]), (&json!([1, 2]), &lab.vm.to_string().into()), "{all}");

        // Changed while it runs, for the session that there is.
        let plan = MachinePlan { metadata: Some("{\"role\":\"db\"}".into()), hostname: "other".into(), ..plan };
        driver.serve_metadata(&machine, &plan).await.unwrap();
        let mut expected = json!({ "role": "db", "hearth": all["hearth"] });
        expected["hearth"]["name"] = json!("other");
        let all: Value = serde_json::from_str(&get("/", "application/json").await).unwrap();
        assert_eq!(all, expected, "replaced as a whole, at the addresses of its start");
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
        network.detach(TAP).await.unwrap();
        lab.left_nothing(&driver).await;
    });
}

/// As an image without cloud-init lets its people in.
const DOCUMENT: &str = include_str!("../../../docs/CLOUD-INIT.md");
/// In the place of what this guest lacks: curl by nc, and a chpasswd that keeps what it is told.
const STAND_INS: &str = r#"
curl() {
    method=GET; if [ "$1" = -fsX ]; then method=$2; shift 2; fi
    answer=$(printf '%s %s HTTP/1.1\r\n%s\r\n\r\n' "$method" "${3#http://169.254.169.254}" "$2" | timeout 5 nc 169.254.169.254 80)
    case $answer in "HTTP/1.1 200"*) printf '%s' "$answer" | tail -n 1 ;; *) return 22 ;; esac
}
chpasswd() { cat > /told; }
"#;

/// The lines that the document shows.
fn lines() -> String {
    let begin = DOCUMENT.find("    at=http").expect("the lines");
    let lines = DOCUMENT[begin..].lines().take_while(|line| !line.is_empty());
    lines.map(|line| format!("{}\n", line.trim_start())).collect()
}

#[test]
fn metadata_and_credentials_come_to_a_guest_that_had_none() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("metadata_and_credentials_come_to_a_guest_that_had_none").await else { return };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        let plan = plan(&lab, &*network).await;
        let machine = start(&driver, &plan, 1).await;
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let token = token(&*guest).await;
        let all = async |guest: &dyn GuestSession| {
            let text = got(guest, &token, "/", "application/json").await;
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let first = all(&*guest).await;
        assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), ["hearth"], "{first}");
        assert_eq!((&first["hearth"]["name"], first["hearth"].get("credentials")), (&json!(plan.hostname), None), "{first}");

        // By a hearth that found the machine.
        drop((guest, driver));
        let driver = lab.driver().await;
        assert_eq!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let hash = format!("$6$salt${}", "h".repeat(86));
        let keys = ["ssh-ed25519 AAAA me@here".to_owned(), "no-pty,command=\"ls -l\" ssh-rsa BBBB".to_owned()];
        let cloud_init = CloudInit { ssh_keys: keys.to_vec(), password_hash: Some(hash.as_str().into()), ..CloudInit::default() };
        let told =
            MachinePlan { metadata: Some("{\"role\":\"web\"}".into()), cloud_init: Some(Box::new(cloud_init)), ..plan.clone() };
        driver.serve_metadata(&machine, &told).await.unwrap();
        let mut expected = first.clone();
        expected["role"] = json!("web");
        expected["hearth"]["credentials"] = json!({ "user": "default", "password_hash": hash, "ssh_keys": keys });
        assert_eq!(all(&*guest).await, expected);
        let script = format!("{STAND_INS}{}cat /told /root/.ssh/authorized_keys", lines());
        let made = output(&*guest, &["sh", "-c", &script]).await;
        assert_eq!(made.lines().collect::<Vec<_>>(), [&format!("root:{hash}"), &keys[0], &keys[1]], "{made}");

        // None any more; and what was said stands in no log.
        driver.serve_metadata(&machine, &plan).await.unwrap();
        assert_eq!(all(&*guest).await, first);
        for log in ["firecracker.log", "firecracker.err", "console.log"] {
            let text = std::fs::read_to_string(lab.folder().join(log)).unwrap();
            assert!(!text.contains("$6$") && !text.contains("AAAA"), "{log}: {text}");
        }
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
        network.detach(TAP).await.unwrap();
        lab.left_nothing(&driver).await;
    });
}
