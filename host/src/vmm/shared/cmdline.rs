//! The words of a guest kernel's command line that do not depend on the VMM: the root, and what the agent reads at boot (see `guest`).

use super::super::MachinePlan;

pub fn words(plan: &MachinePlan) -> Vec<String> {
    let mut words = vec!["root=/dev/vda".to_owned(), "rw".into(), format!("hearth.hostname={}", plan.hostname)];
    if let Some(nic) = plan.nics.first() {
        // A kernel with this driver built in makes dummy0 before eth0, and the agent gives its address to the first Ethernet interface.
        words.push("dummy.numdummies=0".into());
        words.push(format!("hearth.ip={}/{}", nic.address, nic.prefix));
        words.push(format!("hearth.gw={}", nic.gateway));
        if !nic.dns.is_empty() {
            let servers: Vec<String> = nic.dns.iter().map(ToString::to_string).collect();
            words.push(format!("hearth.dns={}", servers.join(",")));
        }
    }
    words.extend(plan.cmdline.clone());
    words
}

/// `aa:bb:cc:dd:ee:ff`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
