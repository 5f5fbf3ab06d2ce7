//! What a driver can do with VMs, as data: hosts carry it, the API shows it, and commands of VMs are refused by it. A capability says what
//! hearth offers with a driver today, not what its VMM could do. Owns the sentence that names what is lacking.

use crate::vm::Driver;
use serde::{Deserialize, Serialize};

/// One thing that drivers can or can't do. Stored as its place, a number: a new one goes to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    Pause,
    ConsoleInput,
    GuestAgent,
    PowerOffTold,
    Snapshot,
    DiffSnapshot,
    Restore,
    DriveHotplug,
    NicHotplug,
    MemoryHotplug,
    Balloon,
    DiskRateLimit,
    NetworkRateLimit,
    Metadata,
    CpuTemplates,
    Jailed,
    Vsock,
}

impl Capability {
    pub const ALL: [Capability; 17] = [
        Capability::Pause,
        Capability::ConsoleInput,
        Capability::GuestAgent,
        Capability::PowerOffTold,
        Capability::Snapshot,
        Capability::DiffSnapshot,
        Capability::Restore,
        Capability::DriveHotplug,
        Capability::NicHotplug,
        Capability::MemoryHotplug,
        Capability::Balloon,
        Capability::DiskRateLimit,
        Capability::NetworkRateLimit,
        Capability::Metadata,
        Capability::CpuTemplates,
        Capability::Jailed,
        Capability::Vsock,
    ];

    /// What a driver without it does not do; follows "the … driver".
    pub fn lack(self) -> &'static str {
        match self {
            Capability::Pause => "can't pause VMs",
            Capability::ConsoleInput => "takes no input on the serial console",
            Capability::GuestAgent => "can't reach the guest's agent",
            Capability::PowerOffTold => "can't tell a guest's power-off from its reboot",
            Capability::Snapshot => "takes no snapshots",
            Capability::DiffSnapshot => "takes no differential snapshots",
            Capability::Restore => "can't restore snapshots",
            Capability::DriveHotplug => "can't add drives to a running VM",
            Capability::NicHotplug => "can't add network interfaces to a running VM",
            Capability::MemoryHotplug => "can't change the memory of a running VM",
            Capability::Balloon => "has no memory balloon",
            Capability::DiskRateLimit => "can't limit the rates of disks",
            Capability::NetworkRateLimit => "can't limit the rates of network interfaces",
            Capability::Metadata => "has no metadata service",
            Capability::CpuTemplates => "has no CPU templates",
            Capability::Jailed => "does not jail its VMMs",
            Capability::Vsock => "can't reach vsock ports of guests",
        }
    }
}

/// What a driver can do, by name.
#[allow(clippy::struct_excessive_bools, reason = "a list of independent flags, read by name")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<u32>", into = "Vec<u32>")]
pub struct Capabilities {
    /// Pause and resume.
    pub pause: bool,
    /// What is typed into the serial console reaches the guest.
    pub console_input: bool,
    /// Programs, terminals, metrics and orderly shutdown by the guest's agent.
    pub guest_agent: bool,
    /// A guest that powers off is told from one that reboots.
    pub power_off_told: bool,
    pub snapshot: bool,
    /// Snapshots of only what changed since the last one.
    pub diff_snapshot: bool,
    pub restore: bool,
    pub drive_hotplug: bool,
    pub nic_hotplug: bool,
    pub memory_hotplug: bool,
    pub balloon: bool,
    pub disk_rate_limit: bool,
    pub network_rate_limit: bool,
    /// A metadata service in the guest's network.
    pub metadata: bool,
    pub cpu_templates: bool,
    /// Its VMMs run jailed: own root, own user, no rights.
    pub jailed: bool,
    /// Ports of a guest's vsock, for users.
    pub vsock: bool,
}

impl Capabilities {
    /// Nothing; drivers name what they can on top of it.
    pub const NONE: Capabilities = Capabilities {
        pause: false,
        console_input: false,
        guest_agent: false,
        power_off_told: false,
        snapshot: false,
        diff_snapshot: false,
        restore: false,
        drive_hotplug: false,
        nic_hotplug: false,
        memory_hotplug: false,
        balloon: false,
        disk_rate_limit: false,
        network_rate_limit: false,
        metadata: false,
        cpu_templates: false,
        jailed: false,
        vsock: false,
    };

    pub fn has(mut self, what: Capability) -> bool {
        *self.flag(what)
    }

    fn flag(&mut self, what: Capability) -> &mut bool {
        match what {
            Capability::Pause => &mut self.pause,
            Capability::ConsoleInput => &mut self.console_input,
            Capability::GuestAgent => &mut self.guest_agent,
            Capability::PowerOffTold => &mut self.power_off_told,
            Capability::Snapshot => &mut self.snapshot,
            Capability::DiffSnapshot => &mut self.diff_snapshot,
            Capability::Restore => &mut self.restore,
            Capability::DriveHotplug => &mut self.drive_hotplug,
            Capability::NicHotplug => &mut self.nic_hotplug,
            Capability::MemoryHotplug => &mut self.memory_hotplug,
            Capability::Balloon => &mut self.balloon,
            Capability::DiskRateLimit => &mut self.disk_rate_limit,
            Capability::NetworkRateLimit => &mut self.network_rate_limit,
            Capability::Metadata => &mut self.metadata,
            Capability::CpuTemplates => &mut self.cpu_templates,
            Capability::Jailed => &mut self.jailed,
            Capability::Vsock => &mut self.vsock,
        }
    }
}

impl From<Vec<Capability>> for Capabilities {
    fn from(list: Vec<Capability>) -> Self {
        let mut all = Capabilities::NONE;
        for what in list {
            *all.flag(what) = true;
        }
        all
    }
}

impl From<Capabilities> for Vec<Capability> {
    fn from(capabilities: Capabilities) -> Self {
        Capability::ALL.into_iter().filter(|what| capabilities.has(*what)).collect()
    }
}

/// As it is stored, which is how the variants of [`Capability`] themselves once were. A number that is not known here is what a newer hearth
/// offers, and is passed over: an older one reads the host all the same.
impl From<Vec<u32>> for Capabilities {
    fn from(places: Vec<u32>) -> Self {
        let known = places.into_iter().filter_map(|place| Capability::ALL.get(usize::try_from(place).ok()?).copied());
        known.collect::<Vec<_>>().into()
    }
}

/// Stored as the list of what is there, so that one that comes later changes no stored bytes.
impl From<Capabilities> for Vec<u32> {
    fn from(capabilities: Capabilities) -> Self {
        Vec::<Capability>::from(capabilities).into_iter().map(|what| what as u32).collect()
    }
}

/// The driver of a host and what it can do: what commands of its VMs are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub driver: Driver,
    pub capabilities: Capabilities,
}

impl Offer {
    pub fn has(self, what: Capability) -> Result<(), Lacking> {
        if self.capabilities.has(what) { Ok(()) } else { Err(Lacking { driver: self.driver, what }) }
    }
}

/// What a driver can't do, as a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {} driver {}", .driver.as_str(), .what.lack())]
pub struct Lacking {
    pub driver: Driver,
    pub what: Capability,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_is_its_own_flag_and_survives_the_list() {
        for (place, what) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, place, "the list is in the order of what is stored");
            let alone = Capabilities::from(vec![what]);
            for other in Capability::ALL {
                assert_eq!(alone.has(other), other == what, "{what:?} is no {other:?}");
            }
            assert_eq!(Vec::<Capability>::from(alone), [what]);
            assert_eq!(Vec::<u32>::from(alone), [u32::try_from(place).expect("a small number")]);
        }
        let all = Capabilities::from(Capability::ALL.to_vec());
        assert_eq!(Vec::<Capability>::from(all), Capability::ALL);
        assert_eq!(Capabilities::from(Vec::<u32>::from(all)), all);
        assert_eq!(Capabilities::default(), Capabilities::NONE);
    }

    #[test]
    fn a_number_that_is_not_known_here_is_passed_over() {
        let newest = Capability::ALL.len() as u32;
        let read = Capabilities::from(vec![0, newest, u32::MAX, newest - 1]);
        assert_eq!(read, Capabilities { pause: true, vsock: true, ..Capabilities::NONE });
    }

    #[test]
    fn what_is_lacking_names_the_driver() {
        let offer = Offer { driver: Driver::Firecracker, capabilities: Capabilities { pause: true, ..Capabilities::NONE } };
        assert_eq!(offer.has(Capability::Pause), Ok(()));
        for what in Capability::ALL.into_iter().filter(|what| *what != Capability::Pause) {
            let told = offer.has(what).expect_err("it lacks all others").to_string();
            assert!(told.starts_with("the firecracker driver ") && !told.ends_with('.'), "{told}");
        }
    }
}
