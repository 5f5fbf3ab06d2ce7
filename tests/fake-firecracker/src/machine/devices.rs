//! What is configured before a start and changed after it, and the values that Firecracker refuses though its document allows them.

use super::{Done, Machine, readable};
use crate::document::Operation;
use serde_json::{Value, json};
use std::path::Path;

const NO_DEVICE: &str = "Internal Vmm error: No such device";

impl Machine {
    /// PUT of what belongs to a boot; PATCH of the machine.
    pub(super) fn configure(&mut self, method: &str, operation: &Operation, body: &Value) -> Done {
        match operation.template.as_str() {
            "/machine-config" => self.machine(method, body),
            "/boot-source" => {
                for (field, error) in [("kernel_image_path", "kernel"), ("initrd_path", "initrd")] {
                    if let Some(path) = body[field].as_str() {
                        readable(Path::new(path))
                            .map_err(|why| format!("Boot source error: The {error} file cannot be opened: {why}"))?;
                    }
                }
                self.keep("boot-source", body)
            }
            "/drives/{drive_id}" => self.drive(body),
            "/pmem/{id}" => self.file_device("pmem", "id", body, "PMEM"),
            "/network-interfaces/{iface_id}" => self.interface(body),
            "/balloon" => {
                let memory = self.config["machine-config"]["mem_size_mib"].as_u64().unwrap_or_default();
                if body["amount_mib"].as_u64().is_some_and(|amount| amount > memory) {
                    return Err("Balloon config error: Amount of pages requested cannot fit in `u32`/guest memory.".into());
                }
                self.keep("balloon", body)
            }
            "/mmds/config" => self.metadata_config(body),
            "/hotplug/memory" => self.keep("memory-hotplug", body),
            template => self.keep(template.trim_start_matches('/').to_owned().as_str(), body),
        }
    }

    fn keep(&mut self, name: &str, body: &Value) -> Done {
        self.config.insert(name.into(), body.clone());
        Ok(None)
    }

    fn machine(&mut self, method: &str, body: &Value) -> Done {
        let mut machine = self.config["machine-config"].clone();
        if method == "PUT" {
            machine = json!({ "smt": false, "track_dirty_pages": false, "huge_pages": "None" });
        }
        for (name, value) in body.as_object().into_iter().flatten() {
            machine[name] = value.clone();
        }
        if machine["cpu_template"] == "V1N1" {
            let why = "unknown variant `V1N1`, expected one of `C3`, `T2`, `T2S`, `None`, `T2CL`, `T2A` at line 1 column 1";
            return Err(format!("An error occurred when deserializing the json body of a request: {why}."));
        }
        let (vcpus, memory) = (machine["vcpu_count"].as_u64().unwrap_or(0), machine["mem_size_mib"].as_u64().unwrap_or(0));
        if !(1..=32).contains(&vcpus) || (machine["smt"] == true && vcpus != 1 && vcpus % 2 == 1) {
            return Err("Machine config error: The vCPU number is invalid! The vCPU number can only be 1 or an even number when SMT is enabled.".into());
        }
        if memory == 0 || (machine["huge_pages"] == "2M" && memory % 2 == 1) {
            return Err(
                "Machine config error: The memory size (MiB) is either 0, or not a multiple of the configured page size.".into(),
            );
        }
        self.config.insert("machine-config".into(), machine);
        Ok(None)
    }

    fn drive(&mut self, body: &Value) -> Done {
        match (body["path_on_host"].as_str(), body["socket"].as_str()) {
            (Some(_), None) => self.file_device("drives", "drive_id", body, "Drive"),
            (None, Some(_)) => self.add("drives", "drive_id", "is_root_device", body),
            _ => Err("Drive config error: Cannot create block device: Both path_on_host and socket, or none of them".into()),
        }
    }

    fn file_device(&mut self, list: &str, id: &str, body: &Value, what: &str) -> Done {
        let path = Path::new(body["path_on_host"].as_str().unwrap_or_default());
        let read_only = body["is_read_only"] == true || body["read_only"] == true;
        let opened = std::fs::OpenOptions::new().read(true).write(!read_only).open(path);
        opened.map_err(|error| {
            format!("{what} config error: Unable to open or create the backing file {}: {error}", path.display())
        })?;
        let root = if list == "drives" { "is_root_device" } else { "root_device" };
        self.add(list, id, root, body)
    }

    fn add(&mut self, list: &str, id: &str, root: &str, body: &Value) -> Done {
        let is_root = |drive: &Value| drive["is_root_device"] == true || drive["root_device"] == true;
        let roots = ["drives", "pmem"].iter().filter_map(|list| self.config.get(*list)?.as_array());
        if body[root] == true && roots.flatten().any(|other| is_root(other) && other[id] != body[id]) {
            return Err("Drive config error: A root block device already exists!".into());
        }
        self.replace(list, id, body);
        Ok(None)
    }

    fn replace(&mut self, list: &str, id: &str, body: &Value) {
        let all = self.config.entry(list).or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            match all.iter_mut().find(|one| one[id] == body[id]) {
                Some(one) => *one = body.clone(),
                None => all.push(body.clone()),
            }
        }
    }

    fn interface(&mut self, body: &Value) -> Done {
        let same_mac = |other: &&Value| {
            other["iface_id"] != body["iface_id"] && !body["guest_mac"].is_null() && other["guest_mac"] == body["guest_mac"]
        };
        if self
            .config
            .get("network-interfaces")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|other| same_mac(&other)))
        {
            let mac = body["guest_mac"].as_str().unwrap_or_default();
            return Err(format!("Network config error: The MAC address is already in use: {mac}"));
        }
        self.replace("network-interfaces", "iface_id", body);
        Ok(None)
    }

    /// After the start: PATCH of devices, and what is asked of them.
    pub(super) fn update(&mut self, method: &str, operation: &Operation, body: &Value) -> Done {
        match (method, operation.template.as_str()) {
            ("PATCH", "/drives/{drive_id}") => self.patch("drives", "drive_id", body),
            ("PATCH", "/pmem/{id}") => self.patch("pmem", "id", body),
            ("PATCH", "/network-interfaces/{iface_id}") => self.patch("network-interfaces", "iface_id", body),
            (_, "/hotplug/memory") => self.hotplug(method, body),
            _ => self.balloon(method, operation, body),
        }
    }

    fn patch(&mut self, list: &str, id: &str, body: &Value) -> Done {
        let all = self.config.get_mut(list).and_then(Value::as_array_mut);
        let one = all.and_then(|all| all.iter_mut().find(|one| one[id] == body[id])).ok_or(NO_DEVICE)?;
        if let Some(path) = body["path_on_host"].as_str() {
            readable(Path::new(path))
                .map_err(|error| format!("Internal Vmm error: Unable to patch the block device: {error}"))?;
        }
        for (name, value) in body.as_object().into_iter().flatten() {
            one[name] = value.clone();
        }
        Ok(None)
    }

    fn hotplug(&mut self, method: &str, body: &Value) -> Done {
        let memory = self.config.get("memory-hotplug").ok_or(NO_DEVICE)?;
        let of = |name: &str, otherwise: u64| memory[name].as_u64().unwrap_or(otherwise);
        let (total, slot, block) = (of("total_size_mib", 0), of("slot_size_mib", 128), of("block_size_mib", 2));
        if method == "GET" {
            return Ok(Some(json!({ "total_size_mib": total, "slot_size_mib": slot, "block_size_mib": block,
                "plugged_size_mib": self.hotplugged_mib, "requested_size_mib": self.hotplugged_mib })));
        }
        let wanted = body["requested_size_mib"].as_u64().unwrap_or(0);
        if wanted > total || !wanted.is_multiple_of(block) {
            return Err("Memory hotplug update error: The requested size is invalid".into());
        }
        self.hotplugged_mib = wanted;
        Ok(None)
    }

    fn balloon(&mut self, method: &str, operation: &Operation, body: &Value) -> Done {
        let memory = self.config["machine-config"]["mem_size_mib"].as_u64().unwrap_or_default();
        let balloon = self.config.get_mut("balloon").ok_or(NO_DEVICE)?;
        let statistics = balloon["stats_polling_interval_s"].as_u64().unwrap_or(0);
        let hinting = balloon["free_page_hinting"] == true;
        match (method, operation.template.as_str()) {
            ("PATCH", "/balloon") => {
                let amount = body["amount_mib"].as_u64().unwrap_or(0);
                if amount > memory {
                    return Err("Balloon update error: Amount of pages requested is too large.".into());
                }
                balloon["amount_mib"] = amount.into();
                Ok(None)
            }
            ("GET", "/balloon/statistics") if statistics == 0 => {
                Err("Internal Vmm error: Statistics for the balloon device are not enabled".into())
            }
            ("GET", "/balloon/statistics") => {
                let mib = balloon["amount_mib"].as_u64().unwrap_or(0);
                Ok(Some(json!({ "target_pages": mib * 256, "actual_pages": mib * 256, "target_mib": mib, "actual_mib": mib,
                    "free_memory": (memory - mib) << 19, "total_memory": memory << 20 })))
            }
            ("PATCH", "/balloon/statistics") => {
                let wanted = body["stats_polling_interval_s"].as_u64().unwrap_or(0);
                if (wanted == 0) != (statistics == 0) {
                    return Err("Balloon update error: Cannot enable/disable the statistics after activation.".into());
                }
                balloon["stats_polling_interval_s"] = wanted.into();
                Ok(None)
            }
            _ if !hinting => Err("Internal Vmm error: Free page hinting is not enabled".into()),
            ("GET", _) => Ok(Some(json!({ "host_cmd": self.hinting, "guest_cmd": self.hinting }))),
            // A run has a number of its own; 1 says that it is over.
            (_, "/balloon/hinting/start") => {
                self.hinting += 2;
                Ok(None)
            }
            _ => {
                self.hinting = 1;
                Ok(None)
            }
        }
    }
}
