//! The machine that the process keeps: its phase, what was configured, and what each request does to it. Pure but for the files that a start or
//! a snapshot needs, which it reads and writes as Firecracker does. Texts of refusals are Firecracker's.

mod devices;
mod metadata;
mod snapshot;

use crate::document::{Document, Operation};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const POST_BOOT: &str = "The requested operation is not supported after starting the microVM.";
const PRE_BOOT: &str = "The requested operation is not supported before starting the microVM.";
const OTHER_ID: &str = "The id from the path does not match the id from the body!";
const BAD_ID: &str = "API Resource IDs can only contain alphanumeric characters and underscores.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    NotStarted,
    Running,
    Paused,
}

pub struct Machine {
    id: String,
    phase: Phase,
    /// Something that belongs to a boot was configured, so no snapshot may be loaded any more.
    boot_path: bool,
    /// What was said, by the names of `/vm/config`.
    config: Map<String, Value>,
    metadata: Option<Value>,
    /// 51,200 as Firecracker's `--mmds-size-limit`.
    metadata_limit: usize,
    hotplugged_mib: u64,
    hinting: u64,
}

/// What is said back, and whether the process goes on.
pub struct Answer {
    pub status: u16,
    pub body: Option<Value>,
    /// Firecracker ends itself after a snapshot that it could not load.
    pub fatal: bool,
    /// The vsock whose socket is to be made now.
    pub vsock: Option<PathBuf>,
}

type Done = Result<Option<Value>, String>;

impl Machine {
    #[must_use]
    pub fn new(id: &str, metrics: Option<&Path>) -> Self {
        let mut config = Map::from_iter([(
            "machine-config".into(),
            json!({ "vcpu_count": 1, "mem_size_mib": 128, "smt": false,
            "track_dirty_pages": false, "huge_pages": "None" }),
        )]);
        if let Some(path) = metrics {
            config.insert("metrics".into(), json!({ "metrics_path": path }));
        }
        Self {
            id: id.into(),
            phase: Phase::NotStarted,
            boot_path: false,
            config,
            metadata: None,
            metadata_limit: 51_200,
            hotplugged_mib: 0,
            hinting: 0,
        }
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Handles one request whole.
    pub fn request(&mut self, document: &Document, method: &str, path: &str, body: &[u8]) -> Answer {
        let answer = |status, body, vsock| Answer { status, body, fatal: false, vsock };
        let fault = |status, text: String| answer(status, Some(json!({ "fault_message": text })), None);
        let Some(operation) = document.operation(method, path) else {
            return fault(400, format!("Invalid request method and/or path: {method} {}.", path.trim_start_matches('/')));
        };
        let given = if body.is_empty() { None } else { Some(serde_json::from_slice::<Value>(body)) };
        let given = match given.transpose() {
            Ok(given) => given,
            Err(error) => {
                return fault(400, format!("An error occurred when deserializing the json body of a request: {error}."));
            }
        };
        // Which fields a body of PATCH /machine-config has is its own: the document names the whole's.
        let partial = method == "PATCH" && operation.template == "/machine-config";
        if let Err(wrong) = document.check(&operation, given.as_ref())
            && !(partial && wrong.starts_with("missing field"))
        {
            return fault(400, format!("An error occurred when deserializing the json body of a request: {wrong}."));
        }
        let body = given.unwrap_or(Value::Null);
        if let Err(wrong) = named(&operation, &body) {
            return fault(400, wrong.into());
        }
        let before = self.phase;
        match self.act(document, method, &operation, &body) {
            Ok(data) => {
                let began = before == Phase::NotStarted && self.phase != Phase::NotStarted;
                let vsock = if began { self.vsock() } else { None };
                answer(if data.is_some() { 200 } else { 204 }, data, vsock)
            }
            Err(wrong) => {
                let status = if wrong.starts_with("MMDS limit") { 413 } else { 400 };
                Answer { fatal: wrong.starts_with("Load snapshot error: Failed"), ..fault(status, wrong) }
            }
        }
    }

    fn act(&mut self, document: &Document, method: &str, operation: &Operation, body: &Value) -> Done {
        match (method, operation.template.as_str()) {
            ("GET", "/") => Ok(Some(self.info(document))),
            ("GET", "/version") => Ok(Some(json!({ "firecracker_version": document.version() }))),
            ("GET", "/machine-config") => Ok(Some(self.config["machine-config"].clone())),
            ("GET", "/vm/config") => Ok(Some(self.config.clone().into())),
            ("GET" | "PUT" | "PATCH", "/mmds") => self.metadata(method, body),
            ("GET", "/balloon") => {
                self.config.get("balloon").cloned().map(Some).ok_or("Balloon config error: No balloon device found".into())
            }
            ("PUT", "/logger" | "/metrics" | "/serial") => self.output(&operation.template, body),
            ("PUT", "/snapshot/load") => self.load(document, body),
            ("PUT", "/snapshot/create") => self.snapshot(document, body),
            ("PUT", "/actions") => self.action(body),
            ("PATCH", "/vm") => self.change(body),
            ("PUT", _) | ("PATCH", "/machine-config") => {
                self.before_start()?;
                self.boot_path = true;
                self.configure(method, operation, body)
            }
            _ => {
                self.after_start()?;
                self.update(method, operation, body)
            }
        }
    }

    fn before_start(&self) -> Result<(), String> {
        if self.phase == Phase::NotStarted { Ok(()) } else { Err(POST_BOOT.into()) }
    }

    fn after_start(&self) -> Result<(), String> {
        if self.phase == Phase::NotStarted { Err(PRE_BOOT.into()) } else { Ok(()) }
    }

    fn info(&self, document: &Document) -> Value {
        let state = match self.phase {
            Phase::NotStarted => "Not started",
            Phase::Running => "Running",
            Phase::Paused => "Paused",
        };
        json!({ "id": self.id, "state": state, "vmm_version": document.version(), "app_name": "Firecracker" })
    }

    /// Once a process each; its file must be there.
    fn output(&mut self, template: &str, body: &Value) -> Done {
        self.before_start()?;
        let (what, path, error) = match template {
            "/logger" => ("logger", &body["log_path"], "Logger error"),
            "/metrics" => ("metrics", &body["metrics_path"], "Metrics error"),
            _ => ("serial", &Value::Null, ""),
        };
        if let Some(path) = path.as_str()
            && std::fs::OpenOptions::new().append(true).open(path).is_err()
        {
            return Err(format!("{error}: Failed to open target file: {path}"));
        }
        if what == "metrics" && self.config.contains_key(what) {
            return Err("Metrics error: Cannot initialize the metrics system due to bad user input: already initialized".into());
        }
        self.config.insert(what.into(), body.clone());
        Ok(None)
    }

    fn action(&mut self, body: &Value) -> Done {
        match body["action_type"].as_str() {
            Some("InstanceStart") => {
                self.before_start()?;
                self.start()
            }
            Some("FlushMetrics") => {
                self.after_start()?;
                self.flush()
            }
            // SendCtrlAltDel: there is nobody behind the keyboard.
            _ => self.after_start().map(|()| None),
        }
    }

    fn start(&mut self) -> Done {
        let kernel = self.config.get("boot-source").and_then(|source| source["kernel_image_path"].as_str());
        let kernel = kernel.ok_or("Start microvm error: Cannot start microvm without kernel configuration.")?;
        readable(Path::new(kernel)).map_err(|error| format!("Start microvm error: Cannot load kernel: {error}"))?;
        // No template fits the processor that it has not.
        if self
            .config
            .get("machine-config")
            .and_then(|machine| machine["cpu_template"].as_str())
            .is_some_and(|name| name != "None")
        {
            let why = "CPU vendor mismatched between actual CPU and CPU template.";
            return Err(format!("Start microvm error: Failed to get CPU template: {why}"));
        }
        if let Some(socket) = self.vsock()
            && socket.exists()
        {
            return Err("Start microvm error: Cannot create vsock: Address in use (os error 98)".into());
        }
        self.phase = Phase::Running;
        Ok(None)
    }

    fn change(&mut self, body: &Value) -> Done {
        self.after_start()?;
        self.phase = if body["state"] == "Paused" { Phase::Paused } else { Phase::Running };
        Ok(None)
    }

    /// A line as Firecracker's, of which only the shape is of use: as if each time 4 KiB had been written.
    fn flush(&self) -> Done {
        use std::io::Write;
        let path = self.config.get("metrics").and_then(|metrics| metrics["metrics_path"].as_str());
        let Some(path) = path else { return Ok(None) };
        let line = json!({ "utc_timestamp_ms": 0, "api_server": { "process_startup_time_us": 0 }, "vcpu": { "exit_io_in": 0 },
            "block_root": { "read_bytes": 512, "write_bytes": 4096, "write_count": 1 }, "block": { "write_bytes": 4096 } });
        let mut file = std::fs::OpenOptions::new().append(true).open(path).map_err(|error| format!("Metrics error: {error}"))?;
        writeln!(file, "{line}").map_err(|error| format!("Metrics error: {error}"))?;
        Ok(None)
    }

    fn vsock(&self) -> Option<PathBuf> {
        self.config.get("vsock").and_then(|vsock| vsock["uds_path"].as_str()).map(PathBuf::from)
    }
}

/// The id of the path, and that the body says the same.
fn named(operation: &Operation, body: &Value) -> Result<(), &'static str> {
    let Some(id) = &operation.id else { return Ok(()) };
    if !id.chars().all(|letter| letter == '_' || letter.is_alphanumeric()) {
        return Err(BAD_ID);
    }
    let said = ["drive_id", "iface_id", "id"].iter().find_map(|name| body[name].as_str());
    if said.is_some_and(|said| said != id) { Err(OTHER_ID) } else { Ok(()) }
}

fn readable(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path).map(drop)
}
