//! What is left to do for a record that was just loaded. There is no other path of recovery.

use super::{BACKOFF_FIRST_MS, build::Next, effect_of, finished};
use crate::{
    mutant::{self, Mutant},
    vm::{
        effect::{Effect, Step},
        input::Timer,
        state::{ReasonCode, Starting, State, StopStage, Stopping, Then},
    },
};

pub(super) fn recover(mut next: Next) -> Step {
    match next.vm.state.clone() {
        State::Created | State::Stopped | State::Failed => next.unchanged(),
        State::Running(_) if mutant::on(Mutant::RecoversWithoutLooking) => next.unchanged(),
        State::Creating { .. } => {
            next.issue(Effect::PrepareDisk);
            next.done()
        }
        // A process may have been made, but its identity did not become durable: launching ends it and makes another.
        State::Starting(Starting::Launching) => finished::launch(next),
        State::Starting(Starting::BackingOff) => {
            next.vm.attempt = next.vm.attempt.next();
            next.timer(Timer::Backoff, BACKOFF_FIRST_MS);
            next.done()
        }
        // Nothing is under way whose answer could come late, and a look changes nothing: no number of its own is to be written before it,
        // which at a start with 100,000 VMs would be most of what there is to do.
        State::Running(machine) | State::Paused(machine) => {
            next.effects.push(Effect::Inspect(machine));
            next.unmoved()
        }
        State::Starting(Starting::Releasing(machine) | Starting::Booting(machine))
        | State::Pausing(machine)
        | State::Resuming(machine)
        | State::Snapshotting(machine)
        | State::Stopping(Stopping { stage: StopStage::Asking(machine) | StopStage::Waiting(machine), .. }) => {
            next.issue(Effect::Inspect(machine));
            next.done()
        }
        State::Stopping(stopping) => {
            next.issue(effect_of(&stopping.stage));
            next.vm.state = State::Stopping(Stopping { tries: 0, ..stopping });
            next.done()
        }
        // Half a restore is nothing that can be gone on with.
        State::Restoring => {
            let detail = "hearth ended in the middle of a restore";
            next.because(ReasonCode::RestoreInterrupted, detail);
            next.fail("restore-interrupted", detail.to_owned(), "restore again");
            next.clean(Then::Failed);
            next.done()
        }
        State::Deleting => {
            next.issue(Effect::Remove);
            next.done()
        }
    }
}
