//! A server in a temporary directory, asked in memory or, for streams, over loopback.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use domain::host::Capabilities;
use host::{
    image::FileStore,
    vmm::{
        Vmm,
        simulated::{Simulated, SimulatedOptions},
    },
};
use runtime::{
    assemble::{VmmChoice, Wanted, assemble, firecracker::FirecrackerWanted, look, put_together},
    auth::AdminToken,
    http::{Edge, router},
};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc, time::Duration};
use storage::{Journal, Options};
use tower::ServiceExt;

pub const TOKEN: &str = "hearth_test-token-0123456789";

/// Far more than anything that is waited for takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "never came true: {what}");
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub edge: Edge,
    pub node: actors::Node,
    pub router: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn field(&self) -> &str {
        self.body["fields"][0]["field"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str, field: &str) {
        assert_eq!((self.status.as_u16(), self.code(), self.field()), (status, code, field), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert!(!self.body["detail"].as_str().unwrap().is_empty());
    }
}

impl Bench {
    pub async fn new() -> Bench {
        Bench::keeping(1000).await
    }

    pub async fn keeping(keep_events: u64) -> Bench {
        Bench::in_dir(tempfile::tempdir().unwrap(), keep_events).await
    }

    /// The server ends in order and another starts in the same directory.
    pub async fn again(self) -> Bench {
        let Bench { dir, edge, node, router } = self;
        edge.end_streams();
        node.stop().await;
        drop((edge, node, router));
        Bench::in_dir(dir, 1000).await
    }

    /// With a driver that can do no more than this.
    pub async fn able(can: Capabilities) -> Bench {
        let options = |data| SimulatedOptions { data, capabilities: can, ..SimulatedOptions::default() };
        Bench::driven(|data| Arc::new(Simulated::new(options(data)).unwrap())).await
    }

    /// With a driver that is made for the data directory.
    pub async fn driven(vmm: impl FnOnce(PathBuf) -> Arc<dyn Vmm>) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let vmm = vmm(dir.path().to_owned());
        let bench = Bench::made(dir, 1000, Some(vmm)).await;
        bench.images().await;
        bench
    }

    async fn in_dir(dir: tempfile::TempDir, keep_events: u64) -> Bench {
        Bench::made(dir, keep_events, None).await
    }

    async fn made(dir: tempfile::TempDir, keep_events: u64, vmm: Option<Arc<dyn Vmm>>) -> Bench {
        let journal = Journal::open(Options { keep_events, ..Options::new(dir.path().join("journal")) }).unwrap();
        let wanted = Wanted {
            data_dir: dir.path().to_owned(),
            vmm: VmmChoice::Simulated,
            bridge: "none0".to_owned(),
            subnet: "10.99.0.0/16".to_owned(),
            no_network: false,
            agent: None,
            kernel: None,
            firecracker: FirecrackerWanted::default(),
        };
        let parts = match vmm {
            None => {
                let found = look(&wanted).await.unwrap();
                assemble(journal, &wanted, found).await.unwrap()
            }
            Some(vmm) => {
                let images = Arc::new(FileStore::new(dir.path().join("images")));
                put_together(journal, &wanted, "test", images, vmm, None).await.unwrap()
            }
        };
        let node = actors::Node::start(parts).await.unwrap();
        let edge = Edge::new(AdminToken::of(TOKEN));
        edge.serve(node.clone(), Arc::new(api::v1::HostMetrics::default));
        Bench { router: router(&edge), dir, edge, node }
    }

    /// With a kernel and a root file system.
    pub async fn with_images() -> Bench {
        let bench = Bench::new().await;
        bench.images().await;
        bench
    }

    pub async fn images(&self) {
        let kernel = json!({"name": "kernel", "spec": {"kind": "kernel", "path": self.kernel(), "default": true}});
        let rootfs = json!({"name": "rootfs", "spec": {"kind": "rootfs", "path": self.rootfs()}});
        for image in [kernel, rootfs] {
            let answer = self.post("/v1/images?wait=30", &image).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn kernel(&self) -> PathBuf {
        self.file("vmlinux", b"\x7fELF and more")
    }

    /// A superblock with magic and eight blocks of 1 KiB.
    pub fn rootfs(&self) -> PathBuf {
        let mut bytes = vec![0; 8192];
        bytes[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xEF]);
        bytes[1024 + 4] = 8;
        self.file("rootfs.ext4", &bytes)
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// With the token and these headers.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json"), ("idempotency-key", key)], body.to_string()).await
    }

    /// A root file system so large that its import takes a while; sparse, so that it takes no room.
    pub fn large_rootfs(&self) -> PathBuf {
        let path = self.rootfs();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        path
    }

    pub fn vm(&self, name: &str) -> Value {
        json!({"name": name, "spec": {"vcpus": 1, "mem_mib": 128, "image": "rootfs"}})
    }

    /// Serves on loopback until the runtime ends; answers the address.
    pub async fn listen(&self) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }
}
