//! The kernel command line's words that concern us. A word that can't be read is passed over and said, so that the guest still boots.
use crate::machine::{Channel, Machine, PowerOff};
use api::guest::{InterfaceAddress, NetworkConfig};

/// Pairs in their order; a word without `=` has no value.
#[derive(Debug)]
pub struct Cmdline<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Cmdline<'a> {
    pub fn parse(text: &'a str) -> Self {
        let pair = |word: &'a str| match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        Self(text.split_ascii_whitespace().map(pair).collect())
    }

    /// The last one wins, as in the kernel.
    fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(word, value)| *word == name && value.is_some())?.1.filter(|value| !value.is_empty())
    }

    pub fn root(&self) -> Option<&'a str> {
        self.value("root")
    }

    pub fn init(&self) -> Option<&'a str> {
        self.value("init")
    }

    pub fn filesystem(&self) -> &'a str {
        self.value("rootfstype").unwrap_or("ext4")
    }

    pub fn root_flags(&self) -> Option<&'a str> {
        self.value("rootflags")
    }

    pub fn read_only(&self) -> bool {
        self.0.iter().rev().find_map(|(word, _)| match *word {
            "ro" => Some(true),
            "rw" => Some(false),
            _ => None,
        }) == Some(true)
    }

    /// `None` when no word asks for anything.
    pub fn network(&self) -> Option<NetworkConfig> {
        let config = NetworkConfig {
            mtu: self.value("hearth.mtu").and_then(|value| value.parse().ok()),
            addresses: self.list("hearth.ip", InterfaceAddress::parse),
            gateways: self.list("hearth.gw", |word| word.parse().ok()),
            dns: self.list("hearth.dns", |word| word.parse().ok()),
            hostname: self.value("hearth.hostname").map(str::to_owned),
            interface: self.list("hearth.mac", with_colons).pop(),
            ..NetworkConfig::default()
        };
        (config != NetworkConfig::default()).then_some(config)
    }

    /// What the interfaces besides that of [`Cmdline::network`] are to be: `525400010301@10.77.0.6/16`, commas between several.
    pub fn further_networks(&self) -> Vec<NetworkConfig> {
        self.list("hearth.nics", |word| {
            let (mac, address) = word.split_once('@')?;
            let (interface, addresses) = (Some(with_colons(mac)?), vec![InterfaceAddress::parse(address)?]);
            Some(NetworkConfig { interface, addresses, ..NetworkConfig::default() })
        })
    }

    /// `hearth.agent=` and `hearth.poweroff=`; without them QEMU's machine.
    pub fn machine(&self) -> Machine {
        Machine {
            channel: self.choice("hearth.agent", &[("virtio", Channel::Port), ("vsock", Channel::Vsock)]),
            power_off: self.choice("hearth.poweroff", &[("acpi", PowerOff::Itself), ("reboot", PowerOff::ByRestart)]),
        }
    }

    /// The first is the default.
    fn choice<T: Copy>(&self, name: &str, of: &[(&str, T); 2]) -> T {
        let [(_, default), _] = of;
        let Some(word) = self.value(name) else { return *default };
        let found = of.iter().find(|(known, _)| *known == word);
        if found.is_none() {
            crate::kmsg::log(&format!("{name}: {word} is not known"));
        }
        found.map_or(*default, |(_, choice)| *choice)
    }

    fn list<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let words = self.value(name).unwrap_or_default().split(',').filter(|word| !word.is_empty());
        words
            .filter_map(|word| {
                let value = read(word);
                if value.is_none() {
                    crate::kmsg::log(&format!("{name}: {word} can't be read"));
                }
                value
            })
            .collect()
    }
}

/// `52:54:00:01:03:01` of `525400010301`, which is how the line has it.
fn with_colons(mac: &str) -> Option<String> {
    if mac.len() != 12 || !mac.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Vec<&str> = (0..12).step_by(2).filter_map(|at| mac.get(at..at + 2)).collect();
    Some(bytes.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_concerns_us() {
        let text = "console=ttyS0 root=/dev/vdb ro root=/dev/vda rw hearth.ip=10.77.0.5/16,fd00::5/64 hearth.gw=10.77.0.1 hearth.dns=x,9.9.9.9 hearth.hostname=web\n";
        let cmdline = Cmdline::parse(text);
        assert_eq!((cmdline.root(), cmdline.init(), cmdline.filesystem()), (Some("/dev/vda"), None, "ext4"));
        assert!(!cmdline.read_only());
        let network = cmdline.network().unwrap();
        assert_eq!((network.addresses.len(), network.gateways.len(), network.dns.len()), (2, 1, 1));
        assert_eq!(network.hostname.as_deref(), Some("web"));
        assert_eq!(cmdline.machine(), Machine { channel: Channel::Port, power_off: PowerOff::Itself });
        assert_eq!(Cmdline::parse("quiet root= ").network(), None);
        assert_eq!(Cmdline::parse("quiet root= ").root(), None);
    }

    #[test]
    fn further_interfaces_are_told_by_their_macs() {
        let text =
            "hearth.ip=10.77.0.5/16 hearth.mac=5254000102ff hearth.nics=525400010301@10.77.0.6/16,525400010302@10.78.0.7/24";
        let cmdline = Cmdline::parse(text);
        assert_eq!(cmdline.network().unwrap().interface.as_deref(), Some("52:54:00:01:02:ff"));
        let told: Vec<_> = cmdline.further_networks().into_iter().map(|config| (config.interface, config.addresses)).collect();
        let expected = |mac: &str, address| (Some(mac.to_owned()), vec![InterfaceAddress::parse(address).unwrap()]);
        assert_eq!(told, [expected("52:54:00:01:03:01", "10.77.0.6/16"), expected("52:54:00:01:03:02", "10.78.0.7/24")]);
        // The others go on.
        let text =
            "hearth.mac=5254000102f hearth.nics=,52540001030@10.77.0.6/16,525400010301@x,525400010301,525400010302@10.77.0.7/16";
        let cmdline = Cmdline::parse(text);
        assert_eq!(cmdline.network(), None);
        let told: Vec<_> = cmdline.further_networks().into_iter().map(|config| config.interface).collect();
        assert_eq!(told, [Some("52:54:00:01:03:02".to_owned())]);
        assert_eq!(Cmdline::parse("hearth.ip=10.77.0.5/16").further_networks(), []);
    }

    #[test]
    fn the_machine_is_qemus_unless_a_word_says_otherwise() {
        let read = |text| {
            let Machine { channel, power_off } = Cmdline::parse(text).machine();
            (channel, power_off)
        };
        assert_eq!(read("reboot=k hearth.agent=vsock hearth.poweroff=reboot"), (Channel::Vsock, PowerOff::ByRestart));
        assert_eq!(read("hearth.agent=vsock hearth.agent=virtio hearth.poweroff=acpi"), (Channel::Port, PowerOff::Itself));
        for text in
            ["reboot=k vsock poweroff=reboot", "hearth.agent hearth.poweroff=", "hearth.agent=Vsock hearth.poweroff=rebooted"]
        {
            assert_eq!(read(text), (Channel::Port, PowerOff::Itself), "{text}");
        }
    }
}
