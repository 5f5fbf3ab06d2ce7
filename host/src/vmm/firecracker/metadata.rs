//! What a guest reads of itself from its metadata service: the user's object, and under `hearth` what hearth knows. Pure. The service is
//! Firecracker's own (MMDS), at 169.254.169.254 behind the guest's interface; nothing of it passes the host's network.

use super::super::{MachinePlan, VmmError, mac_text};
use super::api::{
    Invalid,
    model::{MmdsConfig, MmdsVersion},
};
use super::config::nic_id;
use domain::vm::CloudInit;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;

const HEARTH: &str = "hearth";
const CREDENTIALS: &str = "credentials";
/// cloud-init's word for the user that an image is made for.
const DEFAULT_USER: &str = "default";

/// All that is said of it before the start.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub service: MmdsConfig,
    pub content: Value,
}

/// Not what is in it: credentials are.
impl fmt::Debug for Metadata {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.content.as_object().map_or(0, Map::len);
        write!(out, "Metadata({of} keys, {:?})", self.service)
    }
}

/// Of every machine with a network, so that what comes later has a place. Absent where the machine has none to give to the VM this time.
///
/// Errors: what was stored is no object, which the API does not take.
pub fn metadata(plan: &MachinePlan) -> Result<Option<Metadata>, VmmError> {
    if plan.nics.is_empty() {
        return Ok(None);
    }
    let service = service().map_err(|invalid| refused(invalid.to_string()))?;
    Ok(Some(Metadata { service, content: content(plan, addresses(plan))? }))
}

/// What a machine that was started with `said` is to say now: its addresses are those of its start. Absent: there is nobody to tell, and nothing.
///
/// Errors: as [`metadata`]; the machine has no service, and is to say something.
pub fn renewed(said: Option<&Metadata>, plan: &MachinePlan) -> Result<Option<Value>, VmmError> {
    match said {
        Some(said) => {
            let before = said.content.get(HEARTH).and_then(Value::as_object).cloned();
            content(plan, before.unwrap_or_default()).map(Some)
        }
        None if plan.metadata.is_none() => Ok(None),
        None => {
            Err(refused("the machine has no metadata service: it was started without a network, or by an earlier hearth".into()))
        }
    }
}

fn refused(detail: String) -> VmmError {
    VmmError::Refused { call: "metadata", detail }
}

/// Version 2 alone: by sessions, so that a service in the guest that can be made to send a GET gives nothing away. Not as EC2's in all, whose
/// answers are plain text whatever was asked for: plain text is the default here too, and JSON is for who asks for it.
fn service() -> Result<MmdsConfig, Invalid> {
    Ok(MmdsConfig { version: MmdsVersion::V2, network_interfaces: vec![nic_id(0)?], ipv4_address: None, imds_compat: false })
}

fn addresses(plan: &MachinePlan) -> Map<String, Value> {
    let mut hearth = Map::new();
    if let Some(nic) = plan.nics.first() {
        hearth.insert("address".to_owned(), json!(format!("{}/{}", nic.address, nic.prefix)));
        hearth.insert("gateway".to_owned(), json!(nic.gateway));
        hearth.insert("mac".to_owned(), json!(mac_text(nic.mac)));
    }
    hearth
}

fn content(plan: &MachinePlan, mut hearth: Map<String, Value>) -> Result<Value, VmmError> {
    let own = plan.metadata.as_deref().map(serde_json::from_str::<Map<String, Value>>).transpose();
    let mut all = own.map_err(|error| refused(error.to_string()))?.unwrap_or_default();
    hearth.insert("id".to_owned(), json!(plan.vm.to_string()));
    hearth.insert("name".to_owned(), json!(plan.hostname));
    match plan.cloud_init.as_deref().and_then(credentials) {
        Some(credentials) => hearth.insert(CREDENTIALS.to_owned(), credentials),
        None => hearth.remove(CREDENTIALS),
    };
    all.insert(HEARTH.to_owned(), hearth.into());
    Ok(Value::Object(all))
}

/// How people get into the guest, for an image that has no cloud-init. Of a password the hash: who reads it can't guess 123 bits. Absent where
/// there is neither.
fn credentials(given: &CloudInit) -> Option<Value> {
    let mut all = Map::new();
    if let Some(hash) = &given.password_hash {
        all.insert("password_hash".to_owned(), json!(hash));
    }
    if !given.ssh_keys.is_empty() {
        all.insert("ssh_keys".to_owned(), json!(given.ssh_keys));
    }
    if all.is_empty() {
        return None;
    }
    all.insert("user".to_owned(), json!(DEFAULT_USER));
    Some(all.into())
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    const HASH: &str = "$6$salt$hash";

    fn plan(metadata: Option<&str>) -> MachinePlan {
        MachinePlan { nics: vec![sample::nic()], metadata: metadata.map(Into::into), ..sample::plan() }
    }

    fn with(password_hash: Option<&str>, ssh_keys: &[&str]) -> Option<Box<CloudInit>> {
        let ssh_keys = ssh_keys.iter().map(|&key| key.to_owned()).collect();
        Some(Box::new(CloudInit { user_data: Some("secret".into()), ssh_keys, password_hash: password_hash.map(Into::into) }))
    }

    #[test]
    fn the_users_object_and_hearths_own() {
        let told = metadata(&plan(Some("{\"role\":\"web\",\"a\":{\"b\":\"c\"},\"hearth\":\"mine\"}"))).unwrap().unwrap();
        let hearth = json!({ "id": "vm_00000000000000000000000007", "name": "web-1", "address": "10.77.0.5/16",
            "gateway": "10.77.0.1", "mac": "52:54:00:01:02:ff" });
        assert_eq!(told.content, json!({ "role": "web", "a": { "b": "c" }, "hearth": hearth }));
        let said = serde_json::to_value(&told.service).unwrap();
        // Not `imds_compat`, which releases before it refuse.
        assert_eq!(said, json!({ "version": "V2", "network_interfaces": ["eth0"] }));
        assert_eq!(metadata(&plan(None)).unwrap().unwrap().content, json!({ "hearth": hearth }), "hearth's own is always there");
    }

    #[test]
    fn none_without_a_network_and_no_other_thing_than_an_object() {
        assert_eq!(metadata(&MachinePlan { nics: Vec::new(), ..plan(Some("{}")) }).unwrap(), None);
        assert!(matches!(metadata(&plan(Some("[1]"))), Err(VmmError::Refused { call: "metadata", .. })));
    }

    #[test]
    fn credentials_are_what_there_is_of_them() {
        let told = |given| metadata(&MachinePlan { cloud_init: given, ..plan(None) }).unwrap().unwrap();
        let of = |given| told(given).content["hearth"].get("credentials").cloned();
        assert_eq!(of(with(None, &[])), None, "there is only user data");
        let all = of(with(Some(HASH), &["ssh-rsa A", "ssh-rsa B"]));
        assert_eq!(all, Some(json!({ "user": "default", "password_hash": HASH, "ssh_keys": ["ssh-rsa A", "ssh-rsa B"] })));
        assert_eq!(of(with(Some(HASH), &[])), Some(json!({ "user": "default", "password_hash": HASH })));
        assert_eq!(of(with(None, &["ssh-rsa A"])), Some(json!({ "user": "default", "ssh_keys": ["ssh-rsa A"] })));
        let printed = format!("{:?}", told(with(Some(HASH), &["ssh-rsa A"])));
        assert!(!printed.contains("$6$") && !printed.contains("ssh-rsa"), "{printed}");
    }

    #[test]
    fn what_is_said_anew_has_the_addresses_of_the_start() {
        let said = metadata(&MachinePlan { cloud_init: with(Some(HASH), &[]), ..plan(Some("{\"role\":\"web\"}")) }).unwrap();
        let before = said.as_ref().unwrap().content["hearth"].clone();
        // Of a hearth whose host can give no network now.
        let now = MachinePlan { hostname: "other".into(), nics: Vec::new(), cloud_init: None, ..plan(Some("{\"role\":\"db\"}")) };
        let content = renewed(said.as_ref(), &now).unwrap().unwrap();
        let mut expected = before;
        expected["name"] = json!("other");
        expected.as_object_mut().unwrap().remove("credentials");
        assert_eq!(content, json!({ "role": "db", "hearth": expected }));
        let none = renewed(said.as_ref(), &MachinePlan { metadata: None, ..now.clone() }).unwrap().unwrap();
        assert_eq!(none, json!({ "hearth": expected }));
        // A machine without the service.
        assert_eq!(renewed(None, &MachinePlan { metadata: None, ..now.clone() }).unwrap(), None);
        let told = renewed(None, &now).unwrap_err().to_string();
        assert!(told.contains("no metadata service") && told.contains("earlier hearth"), "{told}");
    }

    /// As much as the API lets anyone give, and what stands beside it.
    #[test]
    fn the_most_that_may_be_given_is_below_what_firecracker_keeps() {
        use domain::vm::Devices;
        let most = |text: &str, quotes: usize, keys: usize| {
            let key = format!("ssh-rsa AAAA {}", "\"".repeat(quotes));
            let given = with(Some(&"h".repeat(106)), &vec![key.as_str(); keys]).unwrap();
            let devices = Devices {
                cloud_init: Some(Box::new(CloudInit { user_data: None, ..*given })),
                metadata: Some(text.into()),
                ..Devices::default()
            };
            assert_eq!(devices.check(512), [], "it may be given");
            let hostname = "x".repeat(63);
            let fullest = MachinePlan { hostname, cloud_init: devices.cloud_init, ..plan(Some(text)) };
            metadata(&fullest).unwrap().unwrap().content.to_string().len()
        };
        let text = format!("{{\"a\":\"{}\"}}", "y".repeat(32 * 1024 - 8));
        for bytes in [most(&text, 57, 32), most("{}", 568, 32)] {
            assert!(bytes > 36 * 1024 && bytes < 40 * 1024, "{bytes} of 51,200");
        }
    }
}
