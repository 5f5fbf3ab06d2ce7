//! MMDS: its configuration, and the document that the guest would read.

use super::{Done, Machine};
use serde_json::{Value, json};

impl Machine {
    pub(super) fn metadata_config(&mut self, body: &Value) -> Done {
        let wanted = body["network_interfaces"].as_array().cloned().unwrap_or_default();
        if wanted.is_empty() {
            return Err(
                "MMMDS config error: The list of network interface IDs that allow forwarding MMDS requests is empty.".into()
            );
        }
        let known = self.config.get("network-interfaces").and_then(Value::as_array).cloned().unwrap_or_default();
        if !wanted.iter().all(|id| known.iter().any(|interface| interface["iface_id"] == *id)) {
            return Err("MMMDS config error: The list of network interface IDs provided contains at least one ID that does not correspond to any existing network interface.".into());
        }
        if let Some(address) = body["ipv4_address"].as_str() {
            let parsed = address.parse::<std::net::Ipv4Addr>().map(|address| address.octets());
            if !matches!(parsed, Ok([169, 254, 1..=254, _])) {
                return Err("MMMDS config error: The MMDS IPv4 address is not link local.".into());
            }
        }
        self.config.insert("mmds-config".into(), body.clone());
        Ok(None)
    }

    pub(super) fn metadata(&mut self, method: &str, body: &Value) -> Done {
        let started = self.after_start().is_ok();
        if started && !self.config.contains_key("mmds-config") {
            return Err("MMDS error: The MMDS data store is not initialized.".into());
        }
        match method {
            "GET" => return Ok(Some(self.metadata.clone().unwrap_or_else(|| json!({})))),
            "PATCH" if self.metadata.is_none() => return Err("MMDS error: The MMDS data store is not initialized.".into()),
            _ => {}
        }
        // What is put is kept as it is; `null` takes away where it is merged.
        let mut after = if method == "PUT" { body.clone() } else { self.metadata.clone().unwrap_or_default() };
        if method == "PATCH" {
            merge(&mut after, body);
        }
        if after.to_string().len() > self.metadata_limit {
            return Err("MMDS limit exceeded error: The MMDS patch request doesn't fit.".into());
        }
        self.metadata = Some(after);
        Ok(None)
    }
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().and_then(|object| object.remove(name));
        } else {
            merge(&mut into[name], value);
        }
    }
}
