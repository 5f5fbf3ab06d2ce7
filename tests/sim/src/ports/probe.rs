//! What the host is like: always the same, and now and then slow to say so.

use crate::{
    machine::Machine,
    ports::{pass, vmm::CAPABILITIES},
};
use actors::HostProbe;
use async_trait::async_trait;
use domain::{
    host::{Facts, VmmFacts},
    vm::Driver,
};

/// So little that VMs must be refused now and then.
pub const ROOM_MIB: u64 = 900;

pub struct Probe(pub Machine);

#[async_trait]
impl HostProbe for Probe {
    async fn facts(&self) -> Facts {
        let slow = {
            let mut state = self.0.state();
            let trouble = state.trouble;
            self.0.faults.inject(&mut state.chance, trouble)
        };
        if slow {
            pass(12_000).await;
        }
        facts(&self.0.name)
    }
}

fn facts(name: &str) -> Facts {
    Facts {
        hostname: name.to_owned(),
        kernel: "6".into(),
        architecture: "x86_64".into(),
        cpu_model: "simulated".into(),
        cpus: 4,
        mem_mib: ROOM_MIB,
        vm_vcpus: 64,
        vm_mem_mib: ROOM_MIB,
        hearth_version: "0".into(),
        vmm: VmmFacts {
            driver: Driver::Simulated,
            version: "0".into(),
            acceleration: "none".into(),
            chosen_because: "it is simulated".into(),
        },
        network_problem: None,
        problems: Vec::new(),
        capabilities: CAPABILITIES,
    }
}
