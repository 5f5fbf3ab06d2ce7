//! What a user asks of a VM's devices beyond the machine itself: limits, the balloon, the processor's template, what the guest configures
//! itself by at its first boot, and metadata. With its bounds, and with what a driver must be able to do for each.

use super::{drives::Drives, spec::SpecProblem};
use crate::host::Capability;
use serde::{Deserialize, Serialize};
use std::fmt;

/// 1 TiB/s and 1 Tbit/s: beyond any device, and in bytes a second still far from overflow.
pub const RATE_MAX: u32 = 1_000_000;
/// Operations a second; NVMe devices do some millions.
pub const OPS_MAX: u32 = 100_000_000;
/// Twice what EC2 takes; the record that holds it is written with every change of the VM.
pub const USER_DATA_MAX: usize = 32 * 1024;
/// What the type of a public key begins with.
pub const SSH_KEY_TYPES: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
pub const SSH_KEYS_MAX: usize = 32;
/// RSA keys of 16,384 bits have some 2,800 characters.
pub const SSH_KEY_MAX: usize = 4096;
/// Below the 51,200 bytes that Firecracker keeps by default, with room for what hearth adds.
pub const METADATA_MAX: usize = 32 * 1024;
/// User data, keys and metadata together: the journal takes a record of 64 KiB, of which labels may need 20.
pub const GIVEN_MAX: usize = 36 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Devices {
    pub rate_limits: RateLimits,
    /// How much of its memory the guest is asked to give back to the host.
    pub balloon_mib: u32,
    pub cpu_template: Option<CpuTemplate>,
    pub cloud_init: Option<Box<CloudInit>>,
    /// A JSON object, as text, for the metadata service.
    pub metadata: Option<Box<str>>,
    /// Beside the root disk.
    pub drives: Drives,
    /// How much memory it may be given while it runs. Absent: what it was started with.
    pub mem_max_mib: Option<u32>,
}

/// The most that a VM may transfer; absent: as much as there is. Of each disk, root or data, both directions together; of each network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateLimits {
    pub disk_mib_per_s: Option<u32>,
    pub disk_ops_per_s: Option<u32>,
    /// Megabits, as networks are told of. Towards the guest.
    pub rx_mbit_per_s: Option<u32>,
    /// From the guest.
    pub tx_mbit_per_s: Option<u32>,
}

/// A set of processor features that guests see on different processors alike: Firecracker's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CpuTemplate {
    C3,
    T2,
    T2S,
    T2CL,
    T2A,
    V1N1,
}

/// What a guest with cloud-init configures itself by, on a NoCloud seed.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CloudInit {
    /// `#cloud-config`, a script, or whatever else cloud-init reads.
    pub user_data: Option<Box<str>>,
    /// For the image's default user, one `authorized_keys` line each.
    pub ssh_keys: Vec<String>,
    /// Of the image's default user: what `crypt(3)` makes of a password that hearth made and told once (`$6$…`, 106 characters). The password
    /// itself is nowhere.
    pub password_hash: Option<Box<str>>,
}

impl Devices {
    /// What a driver must be able to do for it, and the field that asks.
    pub fn needs(&self) -> Vec<(Capability, &'static str)> {
        let limits = &self.rate_limits;
        [
            (limits.disk_mib_per_s.is_some(), Capability::DiskRateLimit, "spec.rate_limits.disk_mib_per_s"),
            (limits.disk_ops_per_s.is_some(), Capability::DiskRateLimit, "spec.rate_limits.disk_ops_per_s"),
            (limits.rx_mbit_per_s.is_some(), Capability::NetworkRateLimit, "spec.rate_limits.rx_mbit_per_s"),
            (limits.tx_mbit_per_s.is_some(), Capability::NetworkRateLimit, "spec.rate_limits.tx_mbit_per_s"),
            (self.balloon_mib > 0, Capability::Balloon, "spec.balloon_mib"),
            (self.cpu_template.is_some(), Capability::CpuTemplates, "spec.cpu_template"),
            (self.metadata.is_some(), Capability::Metadata, "spec.metadata"),
            (self.mem_max_mib.is_some(), Capability::MemoryHotplug, "spec.mem_max_mib"),
        ]
        .into_iter()
        .filter_map(|(asked, what, field)| asked.then_some((what, field)))
        .collect()
    }

    /// All that is impossible whatever the driver; `mem_mib` is the VM's.
    pub fn check(&self, mem_mib: u32) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        let mut add = |field, detail: String| problems.push(SpecProblem { field, detail });
        let limits = &self.rate_limits;
        for (field, rate, most) in [
            ("spec.rate_limits.disk_mib_per_s", limits.disk_mib_per_s, RATE_MAX),
            ("spec.rate_limits.disk_ops_per_s", limits.disk_ops_per_s, OPS_MAX),
            ("spec.rate_limits.rx_mbit_per_s", limits.rx_mbit_per_s, RATE_MAX),
            ("spec.rate_limits.tx_mbit_per_s", limits.tx_mbit_per_s, RATE_MAX),
        ] {
            if rate.is_some_and(|rate| rate == 0 || rate > most) {
                add(field, format!("must be 1 to {most}; leave it out for no limit"));
            }
        }
        // The rest is what the smallest guest needs.
        let most = mem_mib.saturating_sub(super::spec::MEM_MIB_MIN);
        if self.balloon_mib > most {
            add("spec.balloon_mib", format!("must be 0 to {most}: {} MiB stay with the guest", super::spec::MEM_MIB_MIN));
        }
        if let Some(most) = self.mem_max_mib {
            if most > super::spec::MEM_MIB_MAX {
                add("spec.mem_max_mib", format!("must be at most {}, not {most}", super::spec::MEM_MIB_MAX));
            }
            if mem_mib > most {
                add("spec.mem_mib", format!("must be at most {most}, as spec.mem_max_mib is, not {mem_mib}"));
            }
        }
        if let Some(metadata) = &self.metadata
            && metadata.len() > METADATA_MAX
        {
            add("spec.metadata", format!("must not be longer than {METADATA_MAX} bytes"));
        }
        if let Some(cloud_init) = &self.cloud_init {
            let given = cloud_init.len() + self.metadata.as_deref().map_or(0, str::len);
            if given > GIVEN_MAX {
                let detail =
                    format!("user data, keys and metadata must not be longer than {GIVEN_MAX} bytes together, not {given}");
                add("spec.cloud_init", detail);
            }
            problems.extend(cloud_init.check());
        }
        problems.extend(self.drives.check());
        problems
    }
}

/// How much there is, not what: passwords and tokens are given to guests by it, and records are printed where something is wrong.
impl fmt::Debug for CloudInit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.user_data.as_ref().map_or(0, |data| data.len());
        let password = if self.password_hash.is_some() { ", a password" } else { "" };
        write!(out, "CloudInit({bytes} bytes, {} keys{password})", self.ssh_keys.len())
    }
}

impl CloudInit {
    /// Of keys as they stand in metadata, which have a bound of their own: a quote in an option or a name takes two bytes there.
    fn len(&self) -> usize {
        let quoted = |key: &str| key.len() + key.matches(['"', '\\']).count();
        self.user_data.as_deref().map_or(0, str::len) + self.ssh_keys.iter().map(|key| quoted(key)).sum::<usize>()
    }

    fn check(&self) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        let mut add = |field, detail: String| problems.push(SpecProblem { field, detail });
        if self.user_data.as_ref().is_some_and(|data| data.len() > USER_DATA_MAX) {
            add("spec.cloud_init.user_data", format!("must not be longer than {USER_DATA_MAX} bytes"));
        }
        if self.ssh_keys.len() > SSH_KEYS_MAX {
            add("spec.cloud_init.ssh_keys", format!("must not be more than {SSH_KEYS_MAX}"));
        }
        for (place, key) in self.ssh_keys.iter().enumerate() {
            if let Err(why) = ssh_key(key) {
                add("spec.cloud_init.ssh_keys", format!("key {} {why}", place + 1));
            }
        }
        problems
    }
}

/// One public key as `authorized_keys` has it. Whether its numbers are good is for sshd to say; that it is one line and no private key, for us.
fn ssh_key(key: &str) -> Result<(), &'static str> {
    if key.contains("PRIVATE KEY") {
        return Err("is a private key: give the public one, which ends in .pub");
    }
    if key.len() > SSH_KEY_MAX {
        return Err("is too long");
    }
    if key.trim() != key || key.chars().any(char::is_control) {
        return Err("must be one line without space around it");
    }
    let known = |word: &str| SSH_KEY_TYPES.iter().any(|begin| word.starts_with(begin));
    // Options may stand before the type.
    let mut words = key.split_ascii_whitespace().skip_while(|word| !known(word));
    match (words.next(), words.next()) {
        (Some(_type), Some(base64)) if base64.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) => Ok(()),
        _ => Err("is no public key such as \"ssh-ed25519 AAAA… name\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(devices: &Devices) -> Vec<&'static str> {
        devices.check(512).into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn nothing_asked_is_nothing_needed() {
        assert_eq!((Devices::default().needs(), fields(&Devices::default())), (vec![], vec![]));
    }

    #[test]
    fn each_asks_for_what_it_needs() {
        let devices = Devices {
            rate_limits: RateLimits {
                disk_mib_per_s: Some(1),
                disk_ops_per_s: Some(OPS_MAX),
                rx_mbit_per_s: Some(1),
                tx_mbit_per_s: Some(1),
            },
            balloon_mib: 448,
            cpu_template: Some(CpuTemplate::T2),
            cloud_init: Some(Box::default()),
            metadata: Some("{}".into()),
            drives: Drives::default(),
            mem_max_mib: Some(512),
        };
        assert_eq!(fields(&devices), Vec::<&str>::new());
        let needs: Vec<Capability> = devices.needs().into_iter().map(|(what, _)| what).collect();
        let (disk, network) = (Capability::DiskRateLimit, Capability::NetworkRateLimit);
        let others = [Capability::Balloon, Capability::CpuTemplates, Capability::Metadata, Capability::MemoryHotplug];
        assert_eq!(needs, [[disk, disk, network, network], others].concat());
    }

    #[test]
    fn what_is_impossible_is_told_by_its_field() {
        let devices = Devices {
            rate_limits: RateLimits { disk_mib_per_s: Some(0), disk_ops_per_s: Some(OPS_MAX + 1), ..RateLimits::default() },
            balloon_mib: 449,
            metadata: Some("x".repeat(METADATA_MAX + 1).into()),
            cloud_init: Some(Box::new(CloudInit {
                user_data: Some("x".repeat(USER_DATA_MAX + 1).into()),
                ssh_keys: vec!["x".into(); SSH_KEYS_MAX + 1],
                password_hash: None,
            })),
            mem_max_mib: Some(super::super::spec::MEM_MIB_MAX + 1),
            ..Devices::default()
        };
        assert_eq!(fields(&Devices { mem_max_mib: Some(511), ..Devices::default() }), ["spec.mem_mib"]);
        let told = fields(&devices);
        for field in [
            "spec.rate_limits.disk_mib_per_s",
            "spec.rate_limits.disk_ops_per_s",
            "spec.balloon_mib",
            "spec.mem_max_mib",
            "spec.metadata",
            "spec.cloud_init.user_data",
            "spec.cloud_init.ssh_keys",
        ] {
            assert!(told.contains(&field), "{field}: {told:?}");
        }
    }

    #[test]
    fn what_is_given_to_cloud_init_is_not_printed() {
        let mut cloud_init = CloudInit {
            user_data: Some("password: hunter2".into()),
            ssh_keys: vec!["ssh-rsa AAAA".into()],
            password_hash: Some("$6$salt$hash".into()),
        };
        let printed = |cloud_init: &CloudInit| {
            let devices = Devices { cloud_init: Some(Box::new(cloud_init.clone())), ..Devices::default() };
            format!("{devices:?}")
        };
        let with = printed(&cloud_init);
        assert!(with.contains("CloudInit(17 bytes, 1 keys, a password)"), "{with}");
        assert!(!with.contains("hunter2") && !with.contains("$6$"), "{with}");
        cloud_init.password_hash = None;
        assert!(printed(&cloud_init).contains("CloudInit(17 bytes, 1 keys)"));
    }

    /// Each alone is allowed; together they would be more than the journal takes.
    #[test]
    fn what_is_given_in_all_has_a_bound() {
        let given = |user_data: usize, metadata: usize, keys: usize| {
            let key = format!("ssh-rsa {}", "A".repeat(2_000));
            let user_data = Some("x".repeat(user_data).into());
            let cloud_init = Some(Box::new(CloudInit { user_data, ssh_keys: vec![key; keys], password_hash: None }));
            Devices { cloud_init, metadata: Some("x".repeat(metadata).into()), ..Devices::default() }
        };
        assert_eq!(fields(&given(USER_DATA_MAX, GIVEN_MAX - USER_DATA_MAX, 0)), Vec::<&str>::new());
        assert_eq!(fields(&given(USER_DATA_MAX, METADATA_MAX, 0)), ["spec.cloud_init"]);
        assert_eq!(fields(&given(0, 0, SSH_KEYS_MAX)), ["spec.cloud_init"]);
        let quoting = |keys: usize| {
            let ssh_keys = vec![format!("ssh-rsa AAAA {}", "\"\\".repeat(2_000)); keys];
            let cloud_init = Some(Box::new(CloudInit { ssh_keys, ..CloudInit::default() }));
            Devices { cloud_init, ..Devices::default() }
        };
        assert_eq!((fields(&quoting(4)), fields(&quoting(5))), (vec![], vec!["spec.cloud_init"]), "as a guest reads them");
    }

    #[test]
    fn public_keys_are_told_from_other_things() {
        for good in [
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@here",
            "ssh-rsa AAAA",
            "ecdsa-sha2-nistp256 AAAA= x y",
            "sk-ssh-ed25519@openssh.com AAAA",
            "no-pty,command=\"ls -l\" ssh-ed25519 AAAA",
        ] {
            assert_eq!(ssh_key(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "AAAA",
            "ssh-ed25519",
            "ssh-ed25519 !",
            "ssh-rsa AAAA\nssh-rsa BBBB",
            " ssh-rsa A",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(ssh_key(bad).is_err(), "{bad}");
        }
    }
}
