//! The words of a guest kernel's command line that do not depend on the VMM: the root, and what the agent reads at boot (see `guest`).

use super::super::{MachinePlan, NicPlan, VmmError};

/// What a kernel keeps of it on x86, without the closing zero; Firecracker takes no more. Source: `COMMAND_LINE_SIZE` in the kernel's
/// `arch/x86/include/asm/setup.h`, and Firecracker's `CMDLINE_MAX_SIZE`.
const MOST: usize = 2047;

pub fn words(plan: &MachinePlan) -> Vec<String> {
    let mut words = vec!["root=/dev/vda".to_owned(), "rw".into(), format!("hearth.hostname={}", plan.hostname)];
    if let Some((first, others)) = plan.nics.split_first() {
        // A kernel with this driver built in makes dummy0 before eth0, and the agent gives its address to the first Ethernet interface.
        words.push("dummy.numdummies=0".into());
        words.push(format!("hearth.ip={}/{}", first.address, first.prefix));
        words.push(format!("hearth.gw={}", first.gateway));
        if !first.dns.is_empty() {
            let servers: Vec<String> = first.dns.iter().map(ToString::to_string).collect();
            words.push(format!("hearth.dns={}", servers.join(",")));
        }
        // An agent that knows one interface passes these over.
        if !others.is_empty() {
            words.push(format!("hearth.mac={}", short_mac(first.mac)));
            let others: Vec<String> = others.iter().map(other).collect();
            words.push(format!("hearth.nics={}", others.join(",")));
        }
    }
    if plan.mem_max_mib.is_some() {
        // Used as soon as it is there, and for what can be moved away again: else none could be taken back.
        words.push("memhp_default_state=online_movable".into());
    }
    words.extend(plan.cmdline.clone());
    words
}

/// Short, for there may be many, and the user's own words are on the line too.
fn other(nic: &NicPlan) -> String {
    format!("{}@{}/{}", short_mac(nic.mac), nic.address, nic.prefix)
}

/// Errors: with what the VMM says on the line, too, it is longer than a kernel keeps.
pub fn check(line: &str, vmms: usize) -> Result<(), VmmError> {
    let over = (line.len() + vmms).saturating_sub(MOST);
    if over == 0 {
        return Ok(());
    }
    let detail = format!(
        "the kernel's command line would be longer than the {MOST} bytes that a kernel keeps: make spec.cmdline shorter by {over}, or give the VM \
         fewer interfaces or drives"
    );
    Err(VmmError::Refused { call: "configuration", detail })
}

/// `aa:bb:cc:dd:ee:ff`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// `aabbccddeeff`.
fn short_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).concat()
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn further_interfaces_have_words_of_their_own() {
        let plan = MachinePlan { nics: sample::nics(3), ..sample::plan() };
        let words = words(&plan);
        let first = ["dummy.numdummies=0", "hearth.ip=10.77.0.5/16", "hearth.gw=10.77.0.1", "hearth.dns=10.77.0.1,9.9.9.9"];
        assert_eq!(words[3..7], first);
        assert_eq!(words[7..], ["hearth.mac=5254000102ff", "hearth.nics=525400010301@10.77.0.6/16,525400010302@10.77.0.7/16"]);
    }

    #[test]
    fn what_a_kernel_would_cut_off_is_refused() {
        assert!(check(&"x".repeat(2000), 47).is_ok());
        let refusal = check(&"x".repeat(2000), 48).unwrap_err().to_string();
        assert!(refusal.contains("spec.cmdline shorter by 1,"), "{refusal}");
    }
}
