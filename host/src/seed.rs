//! The NoCloud seed of a VM: what cloud-init in a stock image configures itself by at its first boot, as files and as the image of a small
//! drive with the label `cidata`. Pure. Says the same as the agent's words on the kernel's command line, so that both agree on name and
//! address. What is written when is the drivers' part.
//!
//! All but the user's own data is JSON, which is YAML too. Source: cloud-init's documents of NoCloud and of network configuration, version 2.

mod iso;

use crate::vmm::{MachinePlan, NicPlan, mac_text};
use domain::vm::CloudInit;
use serde_json::json;

/// By which cloud-init knows the drive; lower case, which its old versions insist on.
const LABEL: &str = "cidata";
/// cloud-init wants the file, and with nothing in it does what the image says.
const NOTHING: &str = "#cloud-config\n{}\n";
/// Understood by every renderer, also those that do not know the word `default`.
const EVERYWHERE: &str = "0.0.0.0/0";

/// The drive's bytes, a multiple of 2 KiB; absent where none was asked for.
pub fn image(plan: &MachinePlan) -> Option<Vec<u8>> {
    let files = files(plan, plan.cloud_init.as_deref()?);
    let files: Vec<iso::File<'_>> = files.iter().map(|(name, text)| iso::File { name, bytes: text.as_bytes() }).collect();
    Some(iso::image(LABEL, &files))
}

/// In the order of their names. The instance is the VM: what cloud-init does once it does once in a VM's life, whatever is changed later.
fn files(plan: &MachinePlan, cloud_init: &CloudInit) -> Vec<(&'static str, String)> {
    let mut meta = json!({ "instance-id": plan.vm.to_string(), "local-hostname": plan.hostname });
    if !cloud_init.ssh_keys.is_empty() {
        meta["public-keys"] = json!(cloud_init.ssh_keys);
    }
    let user = cloud_init.user_data.as_deref().unwrap_or(NOTHING).to_owned();
    let network = (!plan.nics.is_empty()).then(|| ("network-config", line(&network(&plan.nics))));
    let vendor = cloud_init.password_hash.as_deref().map(|hash| ("vendor-data", vendor(hash)));
    [("meta-data", line(&meta))].into_iter().chain(network).chain([("user-data", user)]).chain(vendor).collect()
}

/// What is hearth's own stands beside the user's data, which stays as it is and wins where both say something. `password` is the default
/// user's, whatever the image calls it, and known as a hash by its `$6$`; it does not expire, and whether sshd takes passwords stays the
/// image's choice. Source: cloud-init's `cc_set_passwords`, which knows hashes since 17.1 (tried with 22.4), and its document of vendor data.
fn vendor(password_hash: &str) -> String {
    format!("#cloud-config\n{}", line(&json!({ "password": password_hash, "chpasswd": { "expire": false } })))
}

fn line(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

/// Static, and each by its MAC: there is no DHCP. No `set-name`: the interfaces are up already, and can't be renamed then. What is elsewhere is
/// behind the first.
fn network(nics: &[NicPlan]) -> serde_json::Value {
    let mut ethernets = serde_json::Map::new();
    for (index, nic) in nics.iter().enumerate() {
        let mut interface = json!({
            "match": { "macaddress": mac_text(nic.mac) },
            "addresses": [format!("{}/{}", nic.address, nic.prefix)],
        });
        if index == 0 {
            interface["routes"] = json!([{ "to": EVERYWHERE, "via": nic.gateway }]);
            if !nic.dns.is_empty() {
                interface["nameservers"] = json!({ "addresses": nic.dns });
            }
        }
        ethernets.insert(format!("eth{index}"), interface);
    }
    json!({ "version": 2, "ethernets": ethernets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::sample;

    fn plan(cloud_init: Option<CloudInit>) -> MachinePlan {
        MachinePlan { nics: vec![sample::nic()], cloud_init: cloud_init.map(Box::new), ..sample::plan() }
    }

    fn written(plan: &MachinePlan) -> Vec<(&'static str, String)> {
        files(plan, plan.cloud_init.as_deref().unwrap())
    }

    #[test]
    fn the_files_word_for_word() {
        let ssh_keys = vec!["ssh-ed25519 AAAA me@\"here\"".to_owned(), "ssh-rsa BBBB".to_owned()];
        let user_data = Some("#!/bin/sh\necho ü: \"$1\"\r\n".into());
        let mut plan = plan(Some(CloudInit { user_data, ssh_keys, password_hash: Some("$6$salt$hash/.".into()) }));
        let meta = "{\"instance-id\":\"vm_00000000000000000000000007\",\"local-hostname\":\"web-1\",\
                    \"public-keys\":[\"ssh-ed25519 AAAA me@\\\"here\\\"\",\"ssh-rsa BBBB\"]}\n";
        let network = "{\"ethernets\":{\"eth0\":{\"addresses\":[\"10.77.0.5/16\"],\"match\":{\"macaddress\":\"52:54:00:01:02:ff\"},\
                       \"nameservers\":{\"addresses\":[\"10.77.0.1\",\"9.9.9.9\"]},\
                       \"routes\":[{\"to\":\"0.0.0.0/0\",\"via\":\"10.77.0.1\"}]}},\"version\":2}\n";
        let user = "#!/bin/sh\necho ü: \"$1\"\r\n";
        let vendor = "#cloud-config\n{\"chpasswd\":{\"expire\":false},\"password\":\"$6$salt$hash/.\"}\n";
        let expected = [("meta-data", meta), ("network-config", network), ("user-data", user), ("vendor-data", vendor)];
        assert_eq!(written(&plan), expected.map(|(name, text)| (name, text.to_owned())));
        // Without interface there is nothing to say of it, and cloud-init finds none by itself.
        plan.nics.clear();
        plan.cloud_init.as_mut().unwrap().password_hash = None;
        let names: Vec<_> = written(&plan).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["meta-data", "user-data"]);
    }

    #[test]
    fn the_way_to_elsewhere_is_the_first_interfaces() {
        let network = network(&sample::nics(2));
        let expected = json!({
            "version": 2,
            "ethernets": {
                "eth0": {
                    "match": { "macaddress": "52:54:00:01:02:ff" }, "addresses": ["10.77.0.5/16"],
                    "routes": [{ "to": "0.0.0.0/0", "via": "10.77.0.1" }],
                    "nameservers": { "addresses": ["10.77.0.1", "9.9.9.9"] },
                },
                "eth1": { "match": { "macaddress": "52:54:00:01:03:01" }, "addresses": ["10.77.0.6/16"] },
            },
        });
        assert_eq!(network, expected);
    }

    #[test]
    fn who_asks_for_nothing_in_it_gets_a_seed_all_the_same() {
        let written = written(&plan(Some(CloudInit::default())));
        let meta: serde_json::Value = serde_json::from_str(&written[0].1).unwrap();
        assert_eq!(meta, json!({ "instance-id": "vm_00000000000000000000000007", "local-hostname": "web-1" }));
        assert_eq!(written[2].1, NOTHING);
        assert!(image(&plan(None)).is_none());
        let image = image(&plan(Some(CloudInit::default()))).unwrap();
        assert!(image.len().is_multiple_of(2048) && image.windows(6).any(|label| label == b"cidata"));
    }

    /// The largest seed that may be asked for stays small: it is written with every start.
    #[test]
    fn the_largest_is_less_than_a_quarter_of_a_mebibyte() {
        use domain::vm::devices::{SSH_KEY_MAX, SSH_KEYS_MAX, USER_DATA_MAX};
        let cloud_init = CloudInit {
            user_data: Some("u".repeat(USER_DATA_MAX).into()),
            ssh_keys: vec!["k".repeat(SSH_KEY_MAX); SSH_KEYS_MAX],
            password_hash: Some("h".repeat(106).into()),
        };
        assert!(image(&plan(Some(cloud_init))).unwrap().len() < 256 << 10);
    }
}
