//! What is true of every host at any time.

use super::state::{Host, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a healthy host has no problems, a degraded one has some")]
    Health,
    #[error("VMs may use no more memory than the machine has, unless it is simulated")]
    Memory,
}

pub fn check(host: &Host) -> Result<(), Broken> {
    let problems = !host.facts.problems.is_empty() || host.facts.network_problem.is_some();
    match host.state {
        State::Healthy if problems => return Err(Broken::Health),
        State::Degraded if !problems => return Err(Broken::Health),
        State::Healthy | State::Degraded | State::Offline => {}
    }
    let simulated = host.facts.vmm.driver == crate::vm::Driver::Simulated;
    if !simulated && host.facts.vm_mem_mib > host.facts.mem_mib {
        return Err(Broken::Memory);
    }
    Ok(())
}
