//! https deliveries by the real binary: an authority that is made here and trusted by `SSL_CERT_FILE`, and what is said of a certificate
//! that is not in order.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

#[path = "support/process.rs"]
mod process;

use process::{Server, heard, run, until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use runtime::deliver::{parse_secret, signature};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::Value;
use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Head and body.
type Request = (String, Vec<u8>);
type Taken = Arc<Mutex<Vec<Request>>>;

/// An authority of one name and its key; the certificate as a file has it.
fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// A receiver whose certificate this authority signed, for this name and until that year; what it took, and where it is.
fn receiver(issuer: &Issuer<'static, KeyPair>, name: &str, until_year: i32) -> (String, Taken) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until_year, 1, 1));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (config, taken) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/hook?key=sesame", listener.local_addr().unwrap());
    let kept = Arc::clone(&taken);
    // Ends with the test's process: nobody connects after it.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&config, stream.unwrap(), &kept);
        }
    });
    (url, taken)
}

/// Whoever does not like the certificate hangs up.
fn serve(config: &Arc<ServerConfig>, mut tcp: TcpStream, taken: &Mutex<Vec<Request>>) {
    let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
    while tls.is_handshaking() {
        if tls.complete_io(&mut tcp).is_err() {
            return;
        }
    }
    // In TLS 1.3 the server is done before the client has looked.
    let mut stream = StreamOwned::new(tls, tcp);
    let Some(request) = heard(&mut stream) else { return };
    stream.conn.send_close_notify();
    let _ = stream.flush();
    taken.lock().unwrap().push(request);
}

#[test]
fn https_is_signed_and_delivered_where_the_authority_is_trusted_and_refused_with_the_reason_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, roots) = (folder.path().join("data"), folder.path().join("ca.pem"));
    let ((trusted, pem), (stranger, _)) = (authority("trusted"), authority("stranger"));
    fs::write(&roots, pem).unwrap();
    let server = Server::start_with(&dir, &[("SSL_CERT_FILE", &roots)]);
    let webhook = |words: &[&str]| {
        run(&[&["webhook"], words, &["--url", &server.url, "--data-dir", dir.to_str().unwrap(), "-o", "json"]].concat())
    };
    let make = |name: &str, url: &str| -> Value {
        let made = webhook(&["create", name, "--to", url, "--after", "0", "--retry-for", "0"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        serde_json::from_str(&made.out).unwrap()
    };

    let (url, taken) = receiver(&trusted, "127.0.0.1", 2100);
    let made = make("good", &url);
    until("the first delivery", || !taken.lock().unwrap().is_empty());
    let tested = webhook(&["test", "good"]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    let secret = parse_secret(made["secret"].as_str().unwrap()).unwrap();
    for (head, body) in taken.lock().unwrap().iter() {
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
        let at = header("webhook-timestamp").parse().unwrap();
        assert_eq!(header("webhook-signature"), signature(&secret, header("webhook-id"), at, body));
    }

    let bad = [
        ("stranger", receiver(&stranger, "127.0.0.1", 2100), "signed by nobody whom this machine trusts"),
        ("elsewhere", receiver(&trusted, "elsewhere.test", 2100), "its certificate is for another name"),
        ("expired", receiver(&trusted, "127.0.0.1", 2001), "its certificate has expired"),
    ];
    for (name, (url, taken), why) in &bad {
        make(name, url);
        let letters = || -> Value { serde_json::from_str(&webhook(&["dead-letters", name]).out).unwrap() };
        until("the delivery is given up", || letters()[0].is_object());
        let letter = letters()[0].clone();
        let detail = letter["detail"].as_str().unwrap();
        assert!(letter["code"] == "tls" && detail.contains(why), "{name}: {letter}");
        // Neither the address nor what else its certificate would tell.
        assert!(!detail.contains("sesame") && !detail.contains("127.0.0.1") && !detail.contains(".test"), "{name}: {detail}");
        let tested = webhook(&["test", name]);
        let told: Value = serde_json::from_str(&tested.out).unwrap();
        assert!(tested.code == Some(1) && told["detail"].as_str().unwrap().contains(why), "{name}: {tested:?}");
        assert!(taken.lock().unwrap().is_empty(), "{name} was sent events");
    }
}
