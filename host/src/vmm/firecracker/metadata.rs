//! What a guest reads of itself from its metadata service: the user's object, and under `hearth` what hearth knows. Pure. The service is
//! Firecracker's own (MMDS), at 169.254.169.254 behind the guest's interface; nothing of it passes the host's network.

use super::super::{MachinePlan, VmmError, mac_text};
use super::api::{
    Invalid,
    model::{MmdsConfig, MmdsVersion},
};
use super::config::nic_id;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// All that is said of it before the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub service: MmdsConfig,
    pub content: Value,
}

/// Absent where none was asked for, or where the machine has no network to give to the VM this time.
///
/// Errors: what was stored is no object, which the API does not take.
pub fn metadata(plan: &MachinePlan) -> Result<Option<Metadata>, VmmError> {
    let (Some(text), true) = (&plan.metadata, !plan.nics.is_empty()) else { return Ok(None) };
    let failed = |detail: String| VmmError::Refused { call: "metadata", detail };
    let own: Map<String, Value> = serde_json::from_str(text).map_err(|error| failed(error.to_string()))?;
    let service = service().map_err(|invalid| failed(invalid.to_string()))?;
    Ok(Some(Metadata { service, content: content(plan, own) }))
}

/// Version 2 alone: by sessions, so that a service in the guest that can be made to send a GET gives nothing away. Not as EC2's in all, whose
/// answers are plain text whatever was asked for: plain text is the default here too, and JSON is for who asks for it.
fn service() -> Result<MmdsConfig, Invalid> {
    Ok(MmdsConfig { version: MmdsVersion::V2, network_interfaces: vec![nic_id(0)?], ipv4_address: None, imds_compat: false })
}

fn content(plan: &MachinePlan, mut own: Map<String, Value>) -> Value {
    let mut hearth = json!({ "id": plan.vm.to_string(), "name": plan.hostname });
    if let Some(nic) = plan.nics.first() {
        hearth["address"] = json!(format!("{}/{}", nic.address, nic.prefix));
        hearth["gateway"] = json!(nic.gateway);
        hearth["mac"] = json!(mac_text(nic.mac));
    }
    own.insert("hearth".to_owned(), hearth);
    Value::Object(own)
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    fn plan(metadata: Option<&str>) -> MachinePlan {
        MachinePlan { nics: vec![sample::nic()], metadata: metadata.map(Into::into), ..sample::plan() }
    }

    #[test]
    fn the_users_object_and_hearths_own() {
        let told = metadata(&plan(Some("{\"role\":\"web\",\"a\":{\"b\":\"c\"},\"hearth\":\"mine\"}"))).unwrap().unwrap();
        assert_eq!(
            told.content,
            json!({
                "role": "web", "a": { "b": "c" },
                "hearth": { "id": "vm_00000000000000000000000007", "name": "web-1", "address": "10.77.0.5/16", "gateway": "10.77.0.1",
                            "mac": "52:54:00:01:02:ff" },
            })
        );
        let said = serde_json::to_value(&told.service).unwrap();
        // Not `imds_compat`, which releases before it refuse.
        assert_eq!(said, json!({ "version": "V2", "network_interfaces": ["eth0"] }));
    }

    #[test]
    fn none_without_a_wish_or_a_network_and_no_other_thing_than_an_object() {
        assert_eq!(metadata(&plan(None)).unwrap(), None);
        assert_eq!(metadata(&MachinePlan { nics: Vec::new(), ..plan(Some("{}")) }).unwrap(), None);
        assert!(matches!(metadata(&plan(Some("[1]"))), Err(VmmError::Refused { call: "metadata", .. })));
    }
}
