//! The flags of `vm create` and `vm update` for what is asked of a VM's devices.

use api::v1::{CpuTemplate, PatchRateLimits, RateLimits};
use clap::Args;

/// For a VM that is made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Devices")]
pub struct Wanted {
    /// The most that each of its disks transfers, MiB a second [default: no limit]
    #[arg(long, value_name = "N")]
    disk_mib_per_s: Option<u32>,
    /// The most operations of each of its disks a second [default: no limit]
    #[arg(long, value_name = "N")]
    disk_ops_per_s: Option<u32>,
    /// The most that it receives, Mbit a second [default: no limit]
    #[arg(long, value_name = "N")]
    rx_mbit_per_s: Option<u32>,
    /// The most that it sends, Mbit a second [default: no limit]
    #[arg(long, value_name = "N")]
    tx_mbit_per_s: Option<u32>,
    /// How much of its memory the guest is asked to give back
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub balloon_mib: u32,
    /// What its processor looks like: c3, t2, t2s, t2cl, t2a, v1n1 [default: the host's]
    #[arg(long, value_name = "TEMPLATE", value_parser = parse_template)]
    pub cpu_template: Option<CpuTemplate>,
}

impl Wanted {
    pub fn rate_limits(&self) -> RateLimits {
        RateLimits {
            disk_mib_per_s: self.disk_mib_per_s,
            disk_ops_per_s: self.disk_ops_per_s,
            rx_mbit_per_s: self.rx_mbit_per_s,
            tx_mbit_per_s: self.tx_mbit_per_s,
        }
    }
}

/// For a VM that is there. `none` takes a limit or the template off.
#[derive(Debug, Args)]
#[command(next_help_heading = "Devices")]
pub struct Changed {
    /// The most that each of its disks transfers, MiB a second; none: no limit
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    disk_mib_per_s: Option<Set<u32>>,
    /// The most operations of each of its disks a second; none: no limit
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    disk_ops_per_s: Option<Set<u32>>,
    /// The most that it receives, Mbit a second; none: no limit
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    rx_mbit_per_s: Option<Set<u32>>,
    /// The most that it sends, Mbit a second; none: no limit
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    tx_mbit_per_s: Option<Set<u32>>,
    /// How much of its memory the guest is asked to give back
    #[arg(long, value_name = "N")]
    pub balloon_mib: Option<u32>,
    /// What its processor looks like: c3, t2, t2s, t2cl, t2a, v1n1; none: the host's (while it is stopped)
    #[arg(long, value_name = "TEMPLATE|none", value_parser = parse_template_or_none)]
    cpu_template: Option<Set<CpuTemplate>>,
}

impl Changed {
    pub fn rate_limits(&self) -> Option<PatchRateLimits> {
        let limit = |set: Option<Set<u32>>| set.map(|set| set.0);
        let limits = PatchRateLimits {
            disk_mib_per_s: limit(self.disk_mib_per_s),
            disk_ops_per_s: limit(self.disk_ops_per_s),
            rx_mbit_per_s: limit(self.rx_mbit_per_s),
            tx_mbit_per_s: limit(self.tx_mbit_per_s),
        };
        (limits != PatchRateLimits::default()).then_some(limits)
    }

    pub fn cpu_template(&self) -> Option<Option<CpuTemplate>> {
        self.cpu_template.map(|set| set.0)
    }
}

/// What was given; absent: taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<T>(pub Option<T>);

/// `none`, or what `parse` makes of it.
pub fn or_none<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Set<T>, String> {
    if text == "none" { Ok(Set(None)) } else { parse(text).map(|given| Set(Some(given))) }
}

fn parse_limit(text: &str) -> Result<Set<u32>, String> {
    or_none(text, |text| text.parse().map_err(|_no_number| "give a whole number, or none".to_owned()))
}

fn parse_template(text: &str) -> Result<CpuTemplate, String> {
    let wanted = text.to_ascii_lowercase();
    let all = || CpuTemplate::ALL.map(CpuTemplate::as_str).join(", ");
    CpuTemplate::ALL.into_iter().find(|template| template.as_str() == wanted).ok_or_else(|| format!("give one of {}", all()))
}

fn parse_template_or_none(text: &str) -> Result<Set<CpuTemplate>, String> {
    or_none(text, parse_template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(parse_limit("5"), Ok(Set(Some(5))));
        assert_eq!(parse_limit("none"), Ok(Set(None)));
        assert!(parse_limit("5M").is_err() && parse_limit("-1").is_err() && parse_limit("").is_err());
        assert_eq!(parse_template("T2S"), Ok(CpuTemplate::T2s));
        assert_eq!(parse_template_or_none("none"), Ok(Set(None)));
        assert!(parse_template("none").unwrap_err().contains("v1n1"));
    }
}
