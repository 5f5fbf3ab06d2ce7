//! A machine that its VMM holds because the host's disk is full, as the VM's actor sees it. What follows is decided by `domain::vm::hold`;
//! here timers are set, the machine is let go on, and users see why it does not get on.
//!
//! Nothing is written while the disk is full: a write that fails would end the journal until hearth is started again.

use super::{
    actor::{State, commit, drive},
    messages::VmRef,
};
use crate::{ambient, error::chain, shared::now};
use domain::{
    Attempt,
    event::Draft,
    vm::{
        Effect, Input, Inspection, Observed, Step, Timer,
        hold::{self, Heard, Hold, Todo},
        step::BOOT_DEADLINE_MS,
    },
};
use ractor::ActorProcessingErr;
use std::{sync::Arc, time::Duration};

/// What is heard of a hold, and what follows.
pub(super) async fn hear(state: &mut State, myself: &VmRef, heard: Heard) -> Result<(), ActorProcessingErr> {
    let Some(record) = state.record.clone() else { return Ok(()) };
    let launch = record.state.machine().map(|machine| machine.launch);
    let (next, todo) = hold::step(state.hold, &record, heard, now());
    show(state, next);
    match todo {
        Todo::Nothing => {}
        Todo::Wait { after_ms } => {
            let Some(hold) = next else { return Ok(()) };
            // Guests that were held together do not all come back in the same moment.
            let spread = ambient::random() as u64 % (after_ms / 10 + 1);
            state.timers.set(state.id, hold.launch, Timer::Hold, Duration::from_millis(after_ms + spread));
        }
        Todo::Try(machine) => {
            state.performer.queue(record, Effect::GoOn(machine), state.guest.session());
            state.performer.next(myself, &state.shared);
        }
        Todo::Tell { event, boots } => {
            tell(state, event).await;
            if let (true, Some(launch)) = (boots, launch) {
                let found = Inspection::Running;
                drive(state, myself, Input::Observed(Observed::Inspected { launch, found })).await?;
            }
        }
    }
    Ok(())
}

/// Gives the guest of a machine that is held its time anew, if that is what the timer was for. Answers whether it was.
pub(super) fn puts_off(state: &State, attempt: Attempt, timer: Timer) -> bool {
    let Some(record) = &state.record else { return false };
    let voids = timer == Timer::Boot && attempt == record.attempt && hold::voids_boot(state.hold, record);
    if voids {
        state.timers.set(state.id, attempt, timer, Duration::from_millis(BOOT_DEADLINE_MS));
    }
    voids
}

fn show(state: &mut State, next: Option<Hold>) {
    if next == state.hold {
        return;
    }
    match (state.hold, next) {
        (None, Some(_)) => tracing::warn!(vm = %state.id, "the host's disk is full: the VMM holds the guest until there is room"),
        (Some(_), None) => tracing::info!(vm = %state.id, "the guest is held no longer"),
        _ => {}
    }
    state.hold = next;
    state.shared.view.touch_vm(state.id, |row| row.hold = next);
}

/// A journal that takes no more is nothing that this actor can mend: the guest goes on all the same.
async fn tell(state: &mut State, event: Draft) {
    let shared = Arc::clone(&state.shared);
    let Ok(_turn) = shared.unasked.acquire().await else { return };
    let step = Step { next: state.record.as_deref().cloned(), events: vec![event], operations: vec![], effects: vec![] };
    if let Err(error) = commit(state, step, None).await {
        tracing::warn!(vm = %state.id, error = chain(&error), "that the guest goes on could not be told");
    }
}
