//! Snapshots: a state file that says what was configured, and a memory file of the machine's size; a differential one is sparse.

use super::{Done, Machine, Phase};
use crate::document::Document;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

/// Begins every state file, so that another file is told apart.
const MAGIC: &str = "fake-firecracker-snapshot";
/// What a differential snapshot has of data.
const DIRTY: &[u8] = &[0xd1; 4096];

impl Machine {
    pub(super) fn snapshot(&mut self, document: &Document, body: &Value) -> Done {
        self.after_start()?;
        if self.phase == Phase::Running {
            return Err(
                "Create snapshot error: Cannot save Vcpu state: Operation not allowed: save/restore unavailable while running"
                    .into(),
            );
        }
        let diff = body["snapshot_type"] == "Diff";
        if diff && self.config["machine-config"]["track_dirty_pages"] != true {
            return Err("Create snapshot error: Cannot get dirty bitmap: dirty page tracking is not enabled".into());
        }
        let failed = |what: &'static str| {
            move |error: std::io::Error| format!("Create snapshot error: Cannot perform open on the {what} backing file: {error}")
        };
        let bytes = self.config["machine-config"]["mem_size_mib"].as_u64().unwrap_or(0) << 20;
        let memory = File::create(body["mem_file_path"].as_str().unwrap_or_default()).map_err(failed("memory"))?;
        memory
            .set_len(bytes)
            .and_then(|()| memory.write_all_at(DIRTY, if diff { bytes / 2 } else { 0 }))
            .map_err(failed("memory"))?;
        let state = json!({ "magic": MAGIC, "version": document.version(), "config": self.config, "metadata": self.metadata });
        fs::write(body["snapshot_path"].as_str().unwrap_or_default(), state.to_string()).map_err(failed("snapshot"))?;
        Ok(None)
    }

    pub(super) fn load(&mut self, document: &Document, body: &Value) -> Done {
        self.before_start()?;
        if self.boot_path {
            return Err(
                "Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources.".into()
            );
        }
        let (backend, file) = (&body["mem_backend"], body["mem_file_path"].as_str());
        let memory = match (backend["backend_path"].as_str(), file) {
            (Some(path), None) | (None, Some(path)) => path,
            _ => return Err("An error occurred when deserializing the json body of a request: either `mem_file_path` or `mem_backend` exclusively is required.".into()),
        };
        let text = fs::read_to_string(body["snapshot_path"].as_str().unwrap_or_default()).map_err(|error| {
            format!("Load snapshot error: Failed to get snapshot state from file: Failed to open snapshot file: {error}")
        })?;
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        if state["magic"] != MAGIC || state["version"] != document.version() {
            return Err("Load snapshot error: Failed to get snapshot state from file: Failed to load snapshot state from file: Invalid magic".into());
        }
        let mut config = state["config"].as_object().cloned().unwrap_or_default();
        let bytes = config["machine-config"]["mem_size_mib"].as_u64().unwrap_or(0) << 20;
        if backend["backend_type"] != "Uffd" && fs::metadata(memory).map_or(0, |file| file.len()) < bytes {
            return Err(
                "Load snapshot error: Failed to load guest memory: Error creating guest memory from file: the file is too small"
                    .into(),
            );
        }
        for changed in body["network_overrides"].as_array().into_iter().flatten() {
            let all = config.get_mut("network-interfaces").and_then(Value::as_array_mut);
            let one = all.and_then(|all| all.iter_mut().find(|one| one["iface_id"] == changed["iface_id"]));
            one.ok_or("Load snapshot error: Failed to build microVM from snapshot: Unknown Network Device.")?["host_dev_name"] =
                changed["host_dev_name"].clone();
        }
        if let Some(path) = body["vsock_override"]["uds_path"].as_str() {
            config
                .get_mut("vsock")
                .ok_or("Load snapshot error: Failed to build microVM from snapshot: Unknown Vsock Device.")?["uds_path"] =
                path.into();
        }
        config.insert("boot-source".into(), json!({ "kernel_image_path": "" }));
        config["machine-config"]["track_dirty_pages"] = (body["track_dirty_pages"] == true).into();
        self.config = config;
        if self.vsock().is_some_and(|socket| socket.exists()) {
            return Err(
                "Load snapshot error: Failed to build microVM from snapshot: Cannot create vsock: Address in use (os error 98)"
                    .into(),
            );
        }
        self.metadata = Some(state["metadata"].clone()).filter(|metadata| !metadata.is_null());
        self.phase = if body["resume_vm"] == true { Phase::Running } else { Phase::Paused };
        Ok(None)
    }
}
