//! A plan for tests of what follows from one. Nothing of it exists; the tests say what they change.

use super::{DiskPlan, MachinePlan, NicPlan, Tuning};
use domain::VmId;

/// The interface of the VM's network, with two name servers.
pub fn nic() -> NicPlan {
    NicPlan {
        tap: "hth0".into(),
        mac: [0x52, 0x54, 0, 1, 2, 0xff],
        address: [10, 77, 0, 5].into(),
        prefix: 16,
        gateway: [10, 77, 0, 1].into(),
        dns: vec![[10, 77, 0, 1].into(), [9, 9, 9, 9].into()],
    }
}

/// That many, each with a MAC and an address of its own.
pub fn nics(count: u8) -> Vec<NicPlan> {
    let other =
        |n| NicPlan { tap: format!("hth{n}"), mac: [0x52, 0x54, 0, 1, 3, n], address: [10, 77, 0, 5 + n].into(), ..nic() };
    (0..count).map(|n| if n == 0 { nic() } else { other(n) }).collect()
}

/// Of one vCPU, with nothing that need not be.
pub fn plan() -> MachinePlan {
    let vm = VmId::from_bits(7);
    MachinePlan {
        vm,
        hostname: "web-1".into(),
        vcpus: 1,
        mem_mib: 256,
        mem_max_mib: None,
        kernel: "/images/k".into(),
        initrd: None,
        disk: DiskPlan { vm, base: "/images/b".into(), size_bytes: None, drives: domain::vm::Drives::default() },
        nics: Vec::new(),
        cmdline: None,
        cloud_init: None,
        metadata: None,
        tuning: Tuning::default(),
        cpu_template: None,
        dirty_tracking: false,
    }
}
