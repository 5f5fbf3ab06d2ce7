//! What is asked of a VM's devices, between the API's words and the domain's.

use api::v1;
use domain::vm::{CpuTemplate, RateLimits, RateLimitsChange};

pub fn rate_limits(limits: RateLimits) -> v1::RateLimits {
    v1::RateLimits {
        disk_mib_per_s: limits.disk_mib_per_s,
        disk_ops_per_s: limits.disk_ops_per_s,
        rx_mbit_per_s: limits.rx_mbit_per_s,
        tx_mbit_per_s: limits.tx_mbit_per_s,
    }
}

pub fn asked_rate_limits(limits: v1::RateLimits) -> RateLimits {
    RateLimits {
        disk_mib_per_s: limits.disk_mib_per_s,
        disk_ops_per_s: limits.disk_ops_per_s,
        rx_mbit_per_s: limits.rx_mbit_per_s,
        tx_mbit_per_s: limits.tx_mbit_per_s,
    }
}

/// Absent: none of them.
pub fn changed_rate_limits(limits: Option<v1::PatchRateLimits>) -> RateLimitsChange {
    let none = v1::PatchRateLimits {
        disk_mib_per_s: Some(None),
        disk_ops_per_s: Some(None),
        rx_mbit_per_s: Some(None),
        tx_mbit_per_s: Some(None),
    };
    let limits = limits.unwrap_or(none);
    RateLimitsChange {
        disk_mib_per_s: limits.disk_mib_per_s,
        disk_ops_per_s: limits.disk_ops_per_s,
        rx_mbit_per_s: limits.rx_mbit_per_s,
        tx_mbit_per_s: limits.tx_mbit_per_s,
    }
}

pub fn template(template: CpuTemplate) -> v1::CpuTemplate {
    match template {
        CpuTemplate::C3 => v1::CpuTemplate::C3,
        CpuTemplate::T2 => v1::CpuTemplate::T2,
        CpuTemplate::T2S => v1::CpuTemplate::T2s,
        CpuTemplate::T2CL => v1::CpuTemplate::T2cl,
        CpuTemplate::T2A => v1::CpuTemplate::T2a,
        CpuTemplate::V1N1 => v1::CpuTemplate::V1n1,
    }
}

pub fn asked_template(template: v1::CpuTemplate) -> CpuTemplate {
    match template {
        v1::CpuTemplate::C3 => CpuTemplate::C3,
        v1::CpuTemplate::T2 => CpuTemplate::T2,
        v1::CpuTemplate::T2s => CpuTemplate::T2S,
        v1::CpuTemplate::T2cl => CpuTemplate::T2CL,
        v1::CpuTemplate::T2a => CpuTemplate::T2A,
        v1::CpuTemplate::V1n1 => CpuTemplate::V1N1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_and_limits_come_back_as_they_went() {
        for told in v1::CpuTemplate::ALL {
            assert_eq!(template(asked_template(told)), told);
        }
        let told =
            v1::RateLimits { disk_mib_per_s: Some(1), disk_ops_per_s: Some(2), rx_mbit_per_s: Some(3), tx_mbit_per_s: Some(4) };
        assert_eq!(rate_limits(asked_rate_limits(told)), told);
    }
}
