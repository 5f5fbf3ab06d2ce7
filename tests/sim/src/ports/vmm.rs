//! The VMM driver of a simulated machine: held, released, paused, ended, adopted, by the rules of `host::vmm::Vmm`.

use crate::{
    machine::{Machine, Vmm as Process},
    ports::{as_fate_has_it, guest::Guest, pass},
};
use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    invariant::{Deed, Phase},
    vm::{Driver as Kind, Exit, Inspection, Machine as Recorded, State},
};
use host::{
    guest::GuestSession,
    vmm::{Console, DiskPlan, MachinePlan, Tuning, Usage, Vmm, VmmError},
};
use std::{sync::Arc, time::Duration};

/// Of the driver, and of the host that tells of it.
pub const CAPABILITIES: Capabilities = Capabilities {
    pause: true,
    guest_agent: true,
    power_off_told: true,
    balloon: true,
    disk_rate_limit: true,
    metadata: true,
    memory_hotplug: true,
    ..Capabilities::NONE
};

pub struct Driver(pub Machine);

fn failed(call: &'static str) -> VmmError {
    VmmError::Refused { call, detail: "a simulated failure".to_owned() }
}

/// What a guest reads.
fn served(plan: &MachinePlan) -> (String, Option<Box<str>>) {
    (plan.hostname.clone(), plan.metadata.clone())
}

impl Driver {
    fn end(&self, vm: VmId, wanted: impl Fn(&Process) -> bool, exit: &Exit) {
        let mut state = self.0.state();
        for process in state.vmms.iter_mut().filter(|process| process.vm == vm && process.phase.is_some() && wanted(process)) {
            (process.phase, process.exit, process.ends) = (None, exit.clone(), None);
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    fn switch(&self, vm: VmId, machine: &Recorded, call: &'static str, to: Phase) -> Result<(), VmmError> {
        self.0.judge(vm, Deed::Touch(machine.launch));
        self.0.tell(format_args!("{call} {vm} launch {}", machine.launch.0));
        let mut state = self.0.state();
        let process = state.vmm(vm, machine.launch).filter(|process| process.start_ticks == machine.start_ticks);
        let result = match process {
            None => Err(VmmError::Gone),
            Some(process) => match process.phase {
                None => Err(VmmError::Gone),
                Some(Phase::Held) if to == Phase::Paused => Err(failed(call)),
                Some(_) => {
                    process.phase = Some(to);
                    // One that is held stays so when it is paused, and is let go on when it is resumed.
                    process.starved &= to != Phase::Running;
                    Ok(())
                }
            },
        };
        if to == Phase::Running && result.is_ok() {
            state.starve(vm, machine.launch);
        }
        drop(state);
        self.0.changed.notify_waiters();
        result
    }

    fn make(&self, plan: &MachinePlan, launch: Attempt) -> Recorded {
        let vm = plan.vm;
        self.0.judge(vm, Deed::Launch(launch));
        // What an earlier launch left is ended first, as every driver must.
        self.end(vm, |_| true, &Exit::Unknown);
        let mut state = self.0.state();
        let start_ticks = state.chance.draw() >> 16;
        state.vmms.retain(|process| process.vm != vm);
        state.vmms.push(Process {
            vm,
            launch,
            start_ticks,
            phase: Some(Phase::Held),
            exit: Exit::Unknown,
            starved: false,
            mem_mib: plan.mem_mib,
            taps: plan.nics.iter().map(|nic| nic.tap.clone()).collect(),
            tuning: plan.tuning.clone(),
            served: served(plan),
            ends: None,
            hello_at: None,
            session: 0,
        });
        drop(state);
        self.0.tell(format_args!("launch {vm} as {}", launch.0));
        Recorded {
            launch,
            driver: Kind::Simulated,
            pid: 0,
            start_ticks,
            executable: "simulated".to_owned(),
            version: "0".to_owned(),
        }
    }

    /// What is told to one that was let go.
    fn retell(&self, vm: VmId, machine: &Recorded, told: impl FnOnce(&mut Process)) -> Result<(), VmmError> {
        self.0.judge(vm, Deed::Touch(machine.launch));
        let mut state = self.0.state();
        match state.vmm(vm, machine.launch).filter(|process| process.start_ticks == machine.start_ticks) {
            Some(process) if matches!(process.phase, Some(Phase::Running | Phase::Paused)) => {
                told(process);
                Ok(())
            }
            Some(process) if process.phase.is_some() => Err(failed("tune")),
            _ => Err(VmmError::Gone),
        }
    }

    fn is_starved(&self, vm: VmId, machine: &Recorded) -> bool {
        self.0.state().vmm(vm, machine.launch).is_some_and(|process| process.phase.is_some() && process.starved)
    }

    fn phase(&self, vm: VmId, machine: &Recorded) -> Option<(Option<Phase>, Exit)> {
        let mut state = self.0.state();
        let process = state.vmm(vm, machine.launch).filter(|process| process.start_ticks == machine.start_ticks)?;
        Some((process.phase, process.exit.clone()))
    }
}

#[async_trait]
impl Vmm for Driver {
    fn facts(&self) -> VmmFacts {
        VmmFacts {
            driver: Kind::Simulated,
            version: "0".into(),
            acceleration: "none".into(),
            chosen_because: "it is simulated".into(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let deed = || {
            self.0.judge(plan.vm, Deed::PrepareDisk);
            self.0.state().disks.insert(plan.vm);
            self.0.tell(format_args!("disk of {}", plan.vm));
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| VmmError::DiskFull { path: "disk".into() })
    }

    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Recorded, VmmError> {
        as_fate_has_it(self.0.fate(), || self.make(plan, launch)).await.ok_or_else(|| failed("launch"))
    }

    async fn release(&self, vm: VmId, machine: &Recorded) -> Result<(), VmmError> {
        let deed = || {
            let held = matches!(self.phase(vm, machine), Some((Some(Phase::Held), _)));
            let released = self.switch(vm, machine, "release", Phase::Running);
            if held && released.is_ok() {
                self.0.state().draw_life(&self.0.faults, vm, machine.launch);
                self.0.changed.notify_waiters();
            }
            released
        };
        as_fate_has_it(self.0.fate(), deed).await.unwrap_or_else(|| Err(failed("release")))
    }

    async fn inspect(&self, vm: VmId, machine: &Recorded) -> Result<Inspection, VmmError> {
        let look = || match self.phase(vm, machine) {
            Some((Some(Phase::Held), _)) => Inspection::Held,
            Some((Some(Phase::Running), _)) => Inspection::Running,
            Some((Some(Phase::Paused), _)) if self.is_starved(vm, machine) => Inspection::DiskFull,
            Some((Some(Phase::Paused), _)) => Inspection::Paused,
            Some((None, exit)) => Inspection::Gone { exit },
            None => Inspection::Gone { exit: Exit::Unknown },
        };
        as_fate_has_it(self.0.fate(), look).await.ok_or_else(|| failed("inspect"))
    }

    async fn exited(&self, vm: VmId, machine: &Recorded) -> Exit {
        loop {
            let changed = self.0.changed.notified();
            let now = self.0.state().now;
            match self.phase(vm, machine) {
                None => return Exit::Unknown,
                Some((None, exit)) => {
                    // Told late, at times.
                    let late = self.0.state().chance.delay_ms();
                    if !self.0.faults.over() {
                        pass(late.min(2_000)).await;
                    }
                    return exit;
                }
                Some((Some(_), _)) => {}
            }
            let ends = self.0.state().vmm(vm, machine.launch).and_then(|process| process.ends.as_ref().map(|(at, _)| *at));
            match ends {
                Some(at) => {
                    let _ = tokio::time::timeout(Duration::from_millis(at.saturating_sub(now).max(1)), changed).await;
                }
                None => changed.await,
            }
        }
    }

    async fn disk_full(&self, vm: VmId, machine: &Recorded) {
        loop {
            let changed = self.0.changed.notified();
            if self.is_starved(vm, machine) {
                pass(5_000).await;
                return;
            }
            changed.await;
        }
    }

    async fn pause(&self, vm: VmId, machine: &Recorded) -> Result<(), VmmError> {
        let deed = || self.switch(vm, machine, "pause", Phase::Paused);
        as_fate_has_it(self.0.fate(), deed).await.unwrap_or_else(|| Err(failed("pause")))
    }

    async fn resume(&self, vm: VmId, machine: &Recorded) -> Result<(), VmmError> {
        let deed = || {
            if matches!(self.0.record(vm).map(|vm| vm.state), Some(State::Paused(_))) {
                self.0.state().broken.push(format!("{vm} is let run, and is to be paused"));
            }
            self.switch(vm, machine, "resume", Phase::Running)
        };
        as_fate_has_it(self.0.fate(), deed).await.unwrap_or_else(|| Err(failed("resume")))
    }

    async fn tune(&self, vm: VmId, machine: &Recorded, tuning: &Tuning) -> Result<(), VmmError> {
        let deed = || {
            self.0.tell(format_args!("tune {vm} launch {}: {tuning:?}", machine.launch.0));
            self.retell(vm, machine, |process| {
                // What a guest was given it may keep.
                process.mem_mib = process.mem_mib.max(tuning.mem_mib.unwrap_or(0));
                process.tuning.clone_from(tuning);
            })
        };
        as_fate_has_it(self.0.fate(), deed).await.unwrap_or_else(|| Err(failed("tune")))
    }

    async fn serve_metadata(&self, machine: &Recorded, plan: &MachinePlan) -> Result<(), VmmError> {
        let (vm, served) = (plan.vm, served(plan));
        let deed = || {
            self.0.tell(format_args!("metadata of {vm} launch {}: {served:?}", machine.launch.0));
            self.retell(vm, machine, |process| process.served.clone_from(&served))
        };
        as_fate_has_it(self.0.fate(), deed).await.unwrap_or_else(|| Err(failed("metadata")))
    }

    async fn kill(&self, vm: VmId, machine: &Recorded) -> Result<(), VmmError> {
        let deed = || {
            self.0.judge(vm, Deed::Touch(machine.launch));
            self.0.tell(format_args!("kill {vm} launch {}", machine.launch.0));
            self.end(vm, |process| process.launch == machine.launch, &Exit::Killed { signal: 15 });
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed("kill"))
    }

    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        let deed = || {
            self.0.judge(vm, Deed::Clean);
            self.0.tell(format_args!("clean {vm}"));
            self.end(vm, |_| true, &Exit::Unknown);
            self.0.state().vmms.retain(|process| process.vm != vm);
            self.0.changed.notify_waiters();
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed("clean"))
    }

    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        let deed = || {
            self.0.judge(vm, Deed::RemoveDisk);
            self.0.tell(format_args!("remove the disk of {vm}"));
            self.0.state().disks.remove(&vm);
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed("remove"))
    }

    async fn guest(&self, vm: VmId, machine: &Recorded, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let deadline_at = tokio::time::Instant::now() + deadline;
        loop {
            let changed = self.0.changed.notified();
            let (hello_at, now) = {
                let mut state = self.0.state();
                let now = state.now;
                let process = state.vmm(vm, machine.launch).filter(|process| process.start_ticks == machine.start_ticks);
                match process {
                    Some(process) if process.phase.is_some() => {
                        (process.hello_at.filter(|_| process.phase == Some(Phase::Running)), now)
                    }
                    _ => return Err(VmmError::Gone),
                }
            };
            let wait = match hello_at {
                Some(at) if at <= now => break,
                Some(at) => Duration::from_millis(at - now),
                None => deadline,
            };
            let until = (tokio::time::Instant::now() + wait).min(deadline_at);
            let woken = tokio::time::timeout_at(until, changed).await.is_ok();
            if !woken && tokio::time::Instant::now() >= deadline_at {
                return Err(VmmError::Timeout { call: "hello", after_ms: deadline.as_millis() as u64 });
            }
        }
        Guest::connect(self.0.clone(), vm, machine.launch).map(|guest| Arc::new(guest) as Arc<dyn GuestSession>)
    }

    async fn console(&self, _: VmId, _: u64) -> Result<Box<dyn Console>, VmmError> {
        Err(VmmError::Unsupported { what: "console" })
    }

    async fn console_log(&self, _: VmId, _: u64) -> Result<Vec<u8>, VmmError> {
        Ok(Vec::new())
    }

    async fn usage(&self, _: VmId, _: &Recorded) -> Result<Usage, VmmError> {
        Ok(Usage::default())
    }

    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        let found = self.0.found();
        let machines = found.processes.iter().map(|process| process.vm);
        let unknown: Vec<VmId> = machines.chain(found.disks.iter().copied()).filter(|vm| !known.contains(vm)).collect();
        for vm in &unknown {
            self.0.judge(*vm, Deed::Sweep);
            self.end(*vm, |_| true, &Exit::Unknown);
            let mut state = self.0.state();
            state.vmms.retain(|process| process.vm != *vm);
            state.disks.remove(vm);
            drop(state);
            self.0.tell(format_args!("sweep {vm}"));
        }
        Ok(unknown.iter().map(ToString::to_string).collect())
    }
}
