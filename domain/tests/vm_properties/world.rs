//! The machine's side in a few lines: one disk, one network interface, at most one process. Effects act on it, with faults.
//!
//! It knows nothing of states; what it answers is what [`Effect`]'s documentation promises.

use domain::{
    Attempt,
    vm::{Driver, Effect, Exit, Finished, Input, Inspection, Machine, Observed, RateLimits},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Nothing happens, and that is said.
    Refused,
    /// It happens, but its failure is answered: the last step of it went wrong.
    Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Held,
    Running,
    Paused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub machine: Machine,
    pub phase: Phase,
    pub shutting_down: bool,
    /// The limits, the balloon and the metadata that it has.
    pub tuned: Tuning,
}

/// Limits, balloon, the user's metadata, and the name that stands beside it.
pub type Tuning = (RateLimits, u32, Option<Box<str>>, String);

#[derive(Debug, Default)]
pub struct World {
    pub disk: bool,
    pub interface: bool,
    pub process: Option<Process>,
    /// Which launch's end is reported, and which guest's hello is listened for. Both end with hearth.
    pub watched: Option<Attempt>,
    pub awaited: Option<Attempt>,
    /// The last try to tune the machine was answered with its failure.
    pub not_tuned: bool,
}

impl World {
    fn runs(&mut self, machine: &Machine) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.machine == *machine)
    }

    /// The process ends, for whatever reason; who watches hears of it.
    pub fn end(&mut self, exit: Exit) -> Option<Input> {
        let launch = self.process.take()?.machine.launch;
        (self.watched.take() == Some(launch)).then_some(Input::Observed(Observed::Exited { launch, exit }))
    }

    /// Carries out `effect` of a record that asks for that tuning. What it answers, and what else it brings about, first things first.
    pub fn act(&mut self, attempt: Attempt, effect: &Effect, asked: Tuning, fault: Fault) -> Vec<Input> {
        let mut inputs = Vec::new();
        let works = fault != Fault::Refused;
        let well = fault == Fault::None;
        let detail = || "told to fail".to_owned();
        let result = match effect {
            Effect::PrepareDisk => {
                self.disk |= works;
                if well { Finished::DiskReady } else { Finished::DiskFailed { code: "disk-full".into(), detail: detail() } }
            }
            Effect::Launch => {
                inputs.extend(self.end(Exit::Killed { signal: 9 }));
                self.interface |= works;
                let pid = u32::try_from(attempt.0).expect("few attempts");
                let machine = Machine {
                    launch: attempt,
                    driver: Driver::Simulated,
                    pid,
                    start_ticks: 1,
                    executable: "/vmm".into(),
                    version: "1".into(),
                };
                assert!(self.disk, "a launch without a disk");
                if well {
                    self.process =
                        Some(Process { machine: machine.clone(), phase: Phase::Held, shutting_down: false, tuned: asked });
                    self.not_tuned = false;
                    Finished::Launched { machine }
                } else {
                    Finished::LaunchFailed { code: "vmm-missing".into(), detail: detail() }
                }
            }
            Effect::Release(machine) => match self.runs(machine) {
                Some(process) if works => {
                    process.phase = Phase::Running;
                    if well { Finished::Released } else { Finished::ReleaseFailed { detail: detail() } }
                }
                _ => Finished::ReleaseFailed { detail: detail() },
            },
            Effect::Pause(machine) => match self.runs(machine) {
                Some(process) if works && process.phase != Phase::Held => {
                    process.phase = Phase::Paused;
                    if well { Finished::Paused } else { Finished::PauseFailed { detail: detail() } }
                }
                _ => Finished::PauseFailed { detail: detail() },
            },
            Effect::Resume(machine) => match self.runs(machine) {
                Some(process) if works && process.phase != Phase::Held => {
                    process.phase = Phase::Running;
                    if well { Finished::Resumed } else { Finished::ResumeFailed { detail: detail() } }
                }
                _ => Finished::ResumeFailed { detail: detail() },
            },
            Effect::Tune(machine) => {
                self.not_tuned = !well;
                match self.runs(machine) {
                    Some(process) if works && process.phase != Phase::Held => {
                        process.tuned = asked;
                        if well { Finished::Tuned } else { Finished::TuneFailed { detail: detail() } }
                    }
                    _ => Finished::TuneFailed { detail: detail() },
                }
            }
            // Wanted by `hold` alone, never by a step.
            Effect::GoOn(_) => return inputs,
            Effect::AskShutdown { machine, .. } => match self.runs(machine) {
                Some(process) if works && process.phase == Phase::Running => {
                    process.shutting_down = true;
                    if well { Finished::ShutdownAsked } else { Finished::ShutdownFailed { detail: detail() } }
                }
                _ => Finished::ShutdownFailed { detail: detail() },
            },
            Effect::Kill(machine) => {
                if works && self.runs(machine).is_some() {
                    inputs.extend(self.end(Exit::Killed { signal: 9 }));
                }
                if well { Finished::Killed } else { Finished::KillFailed { detail: detail() } }
            }
            Effect::Clean => {
                if works {
                    inputs.extend(self.end(Exit::Killed { signal: 9 }));
                }
                self.interface &= !well;
                if well { Finished::Cleaned } else { Finished::CleanFailed { detail: detail() } }
            }
            Effect::Remove => {
                self.disk &= !works;
                if well { Finished::Removed } else { Finished::RemoveFailed { detail: detail() } }
            }
            Effect::Inspect(machine) => {
                let found = self.runs(machine).map_or(Inspection::Gone { exit: Exit::Unknown }, |process| match process.phase {
                    Phase::Held => Inspection::Held,
                    Phase::Running => Inspection::Running,
                    Phase::Paused => Inspection::Paused,
                });
                inputs.push(Input::Observed(Observed::Inspected { launch: machine.launch, found }));
                return inputs;
            }
            Effect::Watch(machine) => {
                self.watched = Some(machine.launch);
                if self.runs(machine).is_none() {
                    self.watched = None;
                    let exit = Exit::Unknown;
                    inputs.push(Input::Observed(Observed::Exited { launch: machine.launch, exit }));
                }
                return inputs;
            }
            Effect::AwaitGuest(machine) => {
                self.awaited = Some(machine.launch);
                return inputs;
            }
            Effect::StartTimer { .. } => unreachable!("timers are the simulation's"),
        };
        assert!(effect.is_answered_by(&result), "{effect:?} is not answered by {result:?}");
        inputs.push(Input::Finished { attempt, result });
        inputs
    }

    /// The guest's agent says hello, if somebody listens.
    pub fn hello(&self) -> Option<Input> {
        let process = self.process.as_ref().filter(|process| process.phase == Phase::Running)?;
        let launch = process.machine.launch;
        (self.awaited == Some(launch)).then_some(Input::Observed(Observed::GuestReady { launch }))
    }
}
