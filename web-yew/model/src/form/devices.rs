//! What forms ask of a machine's devices: its rate limits and its balloon, as they are typed, and what its processor looks like.

use api::v1::{CpuTemplate, Facts, PatchRateLimits, RateLimits, VmSpec};

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    pub id: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    /// How the server names it.
    pub name: &'static str,
    /// What the host's driver must be able to do.
    pub needs: &'static str,
}

const NO_LIMIT: &str = "Empty: no limit.";

pub const FIELDS: [Field; 6] = [
    Field {
        id: "disk-rate",
        label: "Disk, MiB per second",
        help: NO_LIMIT,
        name: "spec.rate_limits.disk_mib_per_s",
        needs: "disk_rate_limit",
    },
    Field {
        id: "disk-ops",
        label: "Disk, operations per second",
        help: NO_LIMIT,
        name: "spec.rate_limits.disk_ops_per_s",
        needs: "disk_rate_limit",
    },
    Field {
        id: "rx-rate",
        label: "Network in, Mbit per second",
        help: NO_LIMIT,
        name: "spec.rate_limits.rx_mbit_per_s",
        needs: "network_rate_limit",
    },
    Field {
        id: "tx-rate",
        label: "Network out, Mbit per second",
        help: NO_LIMIT,
        name: "spec.rate_limits.tx_mbit_per_s",
        needs: "network_rate_limit",
    },
    Field {
        id: "balloon",
        label: "Balloon, MiB",
        help: "Memory that the guest is asked to give back.",
        name: "spec.balloon_mib",
        needs: "balloon",
    },
    Field {
        id: "mem-max",
        label: "Memory at most, MiB",
        help: "How much it can be given while it runs. Empty: no more than it is started with. Set only while it is not running.",
        name: "spec.mem_max_mib",
        needs: "memory_hotplug",
    },
];

/// How the server names the template.
pub const TEMPLATE: &str = "spec.cpu_template";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// As typed, in the order of [`FIELDS`]. Empty: none.
    pub typed: [String; 6],
    /// Absent: the host's processor as it is.
    pub cpu_template: Option<CpuTemplate>,
}

/// What to send to have them changed: nothing of what stayed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    pub rate_limits: Option<PatchRateLimits>,
    pub balloon_mib: Option<u32>,
    /// `Some(None)`: none any more.
    pub mem_max_mib: Option<Option<u32>>,
    /// Likewise.
    pub cpu_template: Option<Option<CpuTemplate>>,
}

impl Devices {
    pub fn of(spec: &VmSpec) -> Self {
        let text = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
        let limits = &spec.rate_limits;
        let balloon = Some(spec.balloon_mib).filter(|mib| *mib > 0);
        let [disk, ops] = [limits.disk_mib_per_s, limits.disk_ops_per_s];
        let all = [disk, ops, limits.rx_mbit_per_s, limits.tx_mbit_per_s, balloon, spec.mem_max_mib];
        Self { typed: all.map(text), cpu_template: spec.cpu_template }
    }

    /// The fields to show, each with its place: those that the host's driver can do, and those that are set all the same.
    pub fn shown<'a>(&'a self, can: &'a Facts) -> impl Iterator<Item = (usize, &'static Field)> + 'a {
        FIELDS
            .iter()
            .zip(&self.typed)
            .enumerate()
            .filter(move |(_, (field, text))| is_able(can, field.needs) || !text.is_empty())
            .map(|(place, (field, _))| (place, field))
    }

    /// Whether to show the template: where the host's driver has them, or one is set all the same.
    pub fn shows_template(&self, can: &Facts) -> bool {
        is_able(can, "cpu_templates") || self.cpu_template.is_some()
    }

    /// By the name that the API has for it; any other text is none.
    pub fn choose_template(&mut self, name: &str) {
        self.cpu_template = CpuTemplate::ALL.into_iter().find(|template| template.as_str() == name);
    }

    pub fn rate_limits(&self) -> RateLimits {
        let [disk_mib_per_s, disk_ops_per_s, rx_mbit_per_s, tx_mbit_per_s, ..] = self.numbers();
        RateLimits { disk_mib_per_s, disk_ops_per_s, rx_mbit_per_s, tx_mbit_per_s }
    }

    pub fn balloon_mib(&self) -> u32 {
        let [.., balloon, _] = self.numbers();
        balloon.unwrap_or(0)
    }

    pub fn mem_max_mib(&self) -> Option<u32> {
        let [.., most] = self.numbers();
        most
    }

    pub fn changes(&self, before: &Self) -> Changes {
        let (now, then) = (self.numbers(), before.numbers());
        let [disk_mib_per_s, disk_ops_per_s, rx_mbit_per_s, tx_mbit_per_s, _, mem_max_mib] =
            std::array::from_fn(|place| (now.get(place) != then.get(place)).then(|| now.get(place).copied().flatten()));
        let limits = PatchRateLimits { disk_mib_per_s, disk_ops_per_s, rx_mbit_per_s, tx_mbit_per_s };
        Changes {
            rate_limits: (limits != PatchRateLimits::default()).then_some(limits),
            balloon_mib: (self.balloon_mib() != before.balloon_mib()).then(|| self.balloon_mib()),
            mem_max_mib,
            cpu_template: (self.cpu_template != before.cpu_template).then_some(self.cpu_template),
        }
    }

    /// A number that is none goes out as 0, which the server refuses in its own words.
    fn numbers(&self) -> [Option<u32>; 6] {
        self.typed.each_ref().map(|text| Some(text.trim()).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap_or(0)))
    }
}

/// Whether a host's driver has that capability.
pub fn is_able(can: &Facts, needs: &str) -> bool {
    can.0.iter().any(|(name, is)| name == needs && *is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(texts: [&str; 6]) -> Devices {
        Devices { typed: texts.map(str::to_owned), cpu_template: None }
    }

    fn spec(limits: RateLimits, balloon_mib: u32) -> VmSpec {
        let text = r#"{"vcpus":1,"mem_mib":128,"image":"a"}"#;
        VmSpec { rate_limits: limits, balloon_mib, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn there_and_back() {
        let limits = RateLimits { disk_mib_per_s: Some(5), tx_mbit_per_s: Some(7), ..RateLimits::default() };
        let typed = Devices::of(&VmSpec { mem_max_mib: Some(512), ..spec(limits, 64) });
        assert_eq!(typed, devices(["5", "", "", "7", "64", "512"]));
        assert_eq!((typed.rate_limits(), typed.balloon_mib(), typed.mem_max_mib()), (limits, 64, Some(512)));
        assert_eq!(Devices::of(&spec(RateLimits::default(), 0)), Devices::default());
    }

    #[test]
    fn only_what_changed_is_sent() {
        let before = devices(["5", "", "", "7", "64", "512"]);
        assert_eq!(before.changes(&before), Changes::default());
        assert_eq!(devices([" 5", "", "", "7 ", "064", "512 "]).changes(&before), Changes::default());
        let expected = PatchRateLimits { disk_mib_per_s: Some(None), rx_mbit_per_s: Some(Some(9)), ..PatchRateLimits::default() };
        let rate_limits = Some(expected);
        let expected = Changes { rate_limits, balloon_mib: Some(0), mem_max_mib: Some(None), cpu_template: None };
        assert_eq!(devices(["", "", "9", "7", "", ""]).changes(&before), expected);
        let more = devices(["5", "", "", "7", "64", "1024"]).changes(&before);
        assert_eq!(more, Changes { mem_max_mib: Some(Some(1024)), ..Changes::default() });
        let limits = devices(["x", "", "", "7", "64", "512"]).changes(&before).rate_limits;
        assert_eq!(limits.and_then(|limits| limits.disk_mib_per_s), Some(Some(0)), "the server says what is wrong with it");
    }

    #[test]
    fn a_template_is_shown_where_there_are_any_chosen_by_its_name_and_taken_off() {
        let mut chosen = Devices::default();
        assert!(!chosen.shows_template(&Facts::of(&[("cpu_templates", false), ("balloon", true)])));
        assert!(chosen.shows_template(&Facts::of(&[("cpu_templates", true)])));
        chosen.choose_template("t2cl");
        assert_eq!(chosen.cpu_template, Some(CpuTemplate::T2cl));
        assert!(chosen.shows_template(&Facts::default()), "what is set can be taken away");
        let with = VmSpec { cpu_template: chosen.cpu_template, ..spec(RateLimits::default(), 0) };
        assert_eq!(Devices::of(&with), chosen);
        let none = Devices::default();
        let template = |now: &Devices, then: &Devices| now.changes(then).cpu_template;
        assert_eq!((template(&chosen, &none), template(&chosen, &chosen)), (Some(Some(CpuTemplate::T2cl)), None));
        chosen.choose_template("");
        assert_eq!(template(&chosen, &Devices::of(&with)), Some(None));
    }

    #[test]
    fn what_the_driver_can_not_do_is_not_asked_for() {
        let can = Facts::of(&[("disk_rate_limit", true), ("network_rate_limit", false), ("balloon", true)]);
        let shown = |devices: &Devices| devices.shown(&can).map(|(place, field)| (place, field.id)).collect::<Vec<_>>();
        assert_eq!(shown(&Devices::default()), [(0, "disk-rate"), (1, "disk-ops"), (4, "balloon")]);
        assert_eq!(shown(&devices(["", "", "", "7", "", ""])).len(), 4, "what is set can be taken away");
        assert_eq!(Devices::default().shown(&Facts::default()).count(), 0);
    }
}
