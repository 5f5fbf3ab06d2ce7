//! A CPU template of one's own (x86_64): what of CPUID, MSRs and KVM's capabilities the guest sees.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuConfig {
    /// Numbers as text; `!` before one takes it away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kvm_capabilities: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpuid_modifiers: Vec<CpuidLeaf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub msr_modifiers: Vec<Msr>,
}

/// `leaf` and `subleaf`: a number as text, `0x…`, `0b…` or decimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuidLeaf {
    pub leaf: String,
    pub subleaf: String,
    /// KVM's flags of the leaf.
    pub flags: i32,
    pub modifiers: Vec<CpuidRegister>,
}

/// `bitmap`: `0b` and 32 of `0` (clear), `1` (set), `x` (leave).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuidRegister {
    pub register: Register,
    pub bitmap: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// `bitmap`: as a register's, of 64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Msr {
    pub addr: String,
    pub bitmap: String,
}
