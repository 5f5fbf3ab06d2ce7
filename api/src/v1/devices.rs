//! What is asked of a VM's devices: limits, the balloon, the processor's template.

use serde::{Deserialize, Deserializer, Serialize};

/// The most that a VM may transfer. Absent: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RateLimits {
    /// Of each disk by itself, root or data, both directions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1_000_000))]
    pub disk_mib_per_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 100_000_000))]
    pub disk_ops_per_s: Option<u32>,
    /// Megabits, towards the guest; of each network interface by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1_000_000))]
    pub rx_mbit_per_s: Option<u32>,
    /// Megabits, from the guest; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1_000_000))]
    pub tx_mbit_per_s: Option<u32>,
}

impl RateLimits {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// In one line, for people; empty where there is none.
    pub fn words(&self) -> String {
        let all = [
            ("disk", self.disk_mib_per_s, "MiB/s"),
            ("disk", self.disk_ops_per_s, "operations/s"),
            ("in", self.rx_mbit_per_s, "Mbit/s"),
            ("out", self.tx_mbit_per_s, "Mbit/s"),
        ];
        let told = all.iter().filter_map(|(what, most, unit)| most.map(|most| format!("{what} {most} {unit}")));
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Changes of single limits. Absent: as it is; `null`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchRateLimits {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000))]
    pub disk_mib_per_s: Option<Option<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u32>, minimum = 1, maximum = 100_000_000))]
    pub disk_ops_per_s: Option<Option<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000))]
    pub rx_mbit_per_s: Option<Option<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000))]
    pub tx_mbit_per_s: Option<Option<u32>>,
}

/// Tells `null` from what is absent: serde takes both for nothing.
pub(super) fn told<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A set of processor features that guests see on different processors alike: Firecracker's own, each for its kinds of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum CpuTemplate {
    C3,
    T2,
    T2s,
    T2cl,
    T2a,
    V1n1,
}

impl CpuTemplate {
    pub const ALL: [CpuTemplate; 6] =
        [CpuTemplate::C3, CpuTemplate::T2, CpuTemplate::T2s, CpuTemplate::T2cl, CpuTemplate::T2a, CpuTemplate::V1n1];

    pub fn as_str(self) -> &'static str {
        match self {
            CpuTemplate::C3 => "c3",
            CpuTemplate::T2 => "t2",
            CpuTemplate::T2s => "t2s",
            CpuTemplate::T2cl => "t2cl",
            CpuTemplate::T2a => "t2a",
            CpuTemplate::V1n1 => "v1n1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_told_from_absent_and_goes_out_as_null() {
        let patch: PatchRateLimits = serde_json::from_str(r#"{"disk_mib_per_s":null,"tx_mbit_per_s":5}"#).unwrap();
        let expected = PatchRateLimits { disk_mib_per_s: Some(None), tx_mbit_per_s: Some(Some(5)), ..PatchRateLimits::default() };
        assert_eq!(patch, expected);
        assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"disk_mib_per_s":null,"tx_mbit_per_s":5}"#);
        assert!(serde_json::from_str::<PatchRateLimits>(r#"{"disk":1}"#).is_err());
    }

    #[test]
    fn limits_read_as_a_line() {
        let limits = RateLimits { disk_mib_per_s: Some(100), rx_mbit_per_s: Some(5), ..RateLimits::default() };
        assert_eq!(limits.words(), "disk 100 MiB/s, in 5 Mbit/s");
        assert_eq!((RateLimits::default().words().as_str(), RateLimits::default().is_none()), ("", true));
    }

    #[test]
    fn templates_are_called_as_they_are_written() {
        for template in CpuTemplate::ALL {
            assert_eq!(serde_json::to_string(&template).unwrap(), format!("\"{}\"", template.as_str()));
        }
    }
}
