//! A machine that its VMM holds because the host's disk is full: what is known of it, and when it is let go on.
//!
//! ```text
//!  (none) --found full--> waiting --time--> trying --still full--> waiting, for twice as long
//!                            ^                 |
//!                            +--- paused by ---+--runs--> (none), and an event
//!                                  its user
//! ```
//! No record keeps a hold: the journal may lie on the very disk that is full, and a write that fails there ends the journal until hearth is
//! started again. It is found anew after each start. A machine whose VM is not to run (its user paused it) is never let go on.

use super::state::{Machine, Reason, ReasonCode, Starting, State, StopStage, Stopping, Vm};
use crate::{
    Attempt, Timestamp,
    event::{Datum, Draft as EventDraft},
    mutant::{self, Mutant},
};

/// The first try comes so soon: what fills a disk is often gone in a moment.
pub const AGAIN_FIRST_MS: u64 = 1_000;
/// The waits double up to this. There is no last try: as long as the disk is full there is nothing else that would help the guest, and one
/// try costs a guest that runs for some milliseconds.
pub const AGAIN_MAX_MS: u64 = 30_000;

/// A machine that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub launch: Attempt,
    /// When it was found so.
    pub since: Timestamp,
    /// How often it was let go on for nothing.
    pub tries: u32,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A timer runs.
    Waiting,
    /// The machine is just being let go on; the answer is under way.
    Trying,
}

/// What is heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The VMM holds this launch's machine. Told again and again as long as it does.
    Full { launch: Attempt },
    /// The time of the next try has come.
    Due { launch: Attempt },
    /// It was let go on, and then looked at.
    Tried { launch: Attempt, found: Found },
}

/// What a try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Runs,
    StillFull,
    /// The machine could not be asked, or is not one that can go on: its end, if it has ended, is told by who watches it.
    Unknown,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    Nothing,
    /// Hear `Due` after this time.
    Wait {
        after_ms: u64,
    },
    /// Let it go on and look: `Tried`.
    Try(Machine),
    /// It goes on. The event is told when the journal takes it. `boots`: as a machine that was just found, for its guest has had no chance
    /// yet, and is given its time anew from now on.
    Tell {
        event: EventDraft,
        boots: bool,
    },
}

/// The hold after it, and what follows.
pub fn step(hold: Option<Hold>, vm: &Vm, heard: Heard, now: Timestamp) -> (Option<Hold>, Todo) {
    let Some(machine) = vm.state.machine() else { return (None, Todo::Nothing) };
    // One of an earlier launch is over with that launch.
    let hold = hold.filter(|hold| hold.launch == machine.launch);
    match (hold, heard) {
        // Of a machine that the VM has no longer.
        (_, Heard::Full { launch } | Heard::Due { launch } | Heard::Tried { launch, .. }) if launch != machine.launch => {
            (hold, Todo::Nothing)
        }
        (None, Heard::Full { launch }) => {
            (Some(Hold { launch, since: now, tries: 0, stage: Stage::Waiting }), Todo::Wait { after_ms: AGAIN_FIRST_MS })
        }
        // Known.
        (Some(hold), Heard::Full { .. }) => (Some(hold), Todo::Nothing),
        (Some(hold), Heard::Due { .. }) if hold.stage == Stage::Waiting => {
            if is_to_run(&vm.state) {
                (Some(Hold { stage: Stage::Trying, ..hold }), Todo::Try(machine.clone()))
            } else {
                // Its user resumes it, if anybody does; then this goes on where it was.
                (Some(hold), Todo::Wait { after_ms: AGAIN_MAX_MS })
            }
        }
        (Some(hold), Heard::Tried { found, .. }) if hold.stage == Stage::Trying => match found {
            Found::Runs => {
                let boots = matches!(vm.state, State::Starting(Starting::Booting(_)));
                (None, Todo::Tell { event: went_on(vm, &hold, now), boots })
            }
            Found::StillFull | Found::Unknown => {
                let tries = hold.tries.saturating_add(1);
                (Some(Hold { tries, stage: Stage::Waiting, ..hold }), Todo::Wait { after_ms: again_ms(tries) })
            }
        },
        // A timer or an answer that nobody waits for.
        (hold, Heard::Due { .. } | Heard::Tried { .. }) => (hold, Todo::Nothing),
    }
}

/// Whether a timer that fired says something about a guest that could not run. The boot's deadline is the guest's, and it had no chance; a
/// stop's is its user's.
pub fn voids_boot(hold: Option<Hold>, vm: &Vm) -> bool {
    match (&vm.state, hold) {
        (State::Starting(Starting::Booting(machine)), Some(hold)) => hold.launch == machine.launch,
        _ => false,
    }
}

/// Why the VM does not get on, for users. Nothing while it is not to run: then that is why.
pub fn reason(hold: Option<Hold>, vm: &Vm) -> Option<Reason> {
    hold.filter(|hold| vm.state.machine().is_some_and(|machine| machine.launch == hold.launch))?;
    let detail = "the host's disk is full, so its VMM holds the guest: it goes on by itself once there is room again".to_owned();
    is_to_run(&vm.state).then_some(Reason { code: ReasonCode::DiskFull, detail })
}

/// Whether the VM's record wants its guest to run.
fn is_to_run(state: &State) -> bool {
    match state {
        State::Running(_) | State::Starting(Starting::Booting(_)) => true,
        // A guest that is to shut down must run for it.
        State::Stopping(Stopping { stage, .. }) => matches!(stage, StopStage::Asking(_) | StopStage::Waiting(_)),
        State::Paused(_) => mutant::on(Mutant::GoesOnThoughPaused),
        // These let it run, hold it or end it by themselves.
        State::Starting(Starting::Launching | Starting::Releasing(_) | Starting::BackingOff)
        | State::Pausing(_)
        | State::Resuming(_)
        | State::Snapshotting(_)
        | State::Creating { .. }
        | State::Created
        | State::Stopped
        | State::Restoring
        | State::Failed
        | State::Deleting => false,
    }
}

fn again_ms(tries: u32) -> u64 {
    AGAIN_FIRST_MS.saturating_mul(1 << tries.min(16)).min(AGAIN_MAX_MS)
}

fn went_on(vm: &Vm, hold: &Hold, now: Timestamp) -> EventDraft {
    let data = vec![
        ("state", Datum::Text(vm.state.name().to_owned())),
        ("reason", Datum::Text(ReasonCode::DiskFull.as_str().to_owned())),
        ("held_ms", Datum::Number(now.since_ms(hold.since))),
    ];
    EventDraft { name: "vm-went-on", actor: None, operation: vm.operation.map(|in_flight| in_flight.id), data }
}

#[cfg(test)]
mod tests;
