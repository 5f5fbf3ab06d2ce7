//! Building a step: the next record, and what goes with it.

use crate::{
    Generation, Timestamp,
    event::{Datum, Draft as EventDraft},
    mutant::{self, Mutant},
    operation::{Change as OperationChange, Input as OperationInput, OperationError, OperationKind},
    vm::{
        cancel,
        effect::{Effect, Step},
        input::{Ticket, Timer},
        state::State,
        state::{InFlight, Machine, Reason, ReasonCode, StopStage, Stopping, Then, Vm},
    },
};

/// A step in the making. `vm` is the next record; the operation in flight is the record's.
pub(super) struct Next {
    pub vm: Vm,
    pub now: Timestamp,
    pub events: Vec<EventDraft>,
    pub operations: Vec<OperationChange>,
    pub effects: Vec<Effect>,
    gone: bool,
    /// The operation in flight was being cancelled before this step.
    cancelling: bool,
    /// Generation and time of the record before, for a step that turns out to change nothing.
    was: (Generation, Timestamp),
}

impl Next {
    pub fn of(vm: &Vm, now: Timestamp) -> Next {
        let was = (vm.generation, vm.updated_at);
        let cancelling = cancel::under_way(vm);
        let mut vm = vm.clone();
        vm.generation = Generation(vm.generation.0 + 1);
        vm.updated_at = now;
        Next { vm, now, events: Vec::new(), operations: Vec::new(), effects: Vec::new(), gone: false, cancelling, was }
    }

    /// Nothing happens: the very same record, which the actor does not write again.
    pub fn nothing(vm: &Vm) -> Step {
        Step { next: Some(vm.clone()), events: Vec::new(), operations: Vec::new(), effects: Vec::new() }
    }

    /// No news, found out late: the very same record as before, to the last field, so that the actor does not write it again.
    pub fn unchanged(mut self) -> Step {
        debug_assert!(self.events.is_empty() && self.operations.is_empty() && self.effects.is_empty(), "{:?}", self.events);
        (self.vm.generation, self.vm.updated_at) = self.was;
        Next::nothing(&self.vm)
    }

    /// The record as it was: what is told and done changes nothing of it, and needs no attempt of its own.
    pub fn unmoved(mut self) -> Step {
        (self.vm.generation, self.vm.updated_at) = self.was;
        self.done()
    }

    pub fn done(self) -> Step {
        debug_assert!(self.gone || super::super::invariant::check(&self.vm).is_ok(), "{:?}", self.vm);
        Step { next: (!self.gone).then_some(self.vm), events: self.events, operations: self.operations, effects: self.effects }
    }

    /// The VM is no more.
    pub fn gone(mut self) -> Step {
        self.gone = true;
        self.done()
    }

    /// An effect under a new attempt: what is still under way from before no longer counts.
    pub fn issue(&mut self, effect: Effect) {
        self.vm.attempt = self.vm.attempt.next();
        self.effects.push(effect);
    }

    /// A timer for the attempt that was issued last.
    pub fn timer(&mut self, timer: Timer, after_ms: u64) {
        self.effects.push(Effect::StartTimer { timer, after_ms });
    }

    /// Follow a machine that runs: its end, and its guest.
    pub fn follow(&mut self, machine: &Machine) {
        self.effects.push(Effect::Watch(machine.clone()));
        self.effects.push(Effect::AwaitGuest(machine.clone()));
    }

    pub fn event(&mut self, name: &'static str) {
        let operation = self.vm.operation.map(|in_flight| in_flight.id);
        let mut data = vec![("state", Datum::Text(self.vm.state.name().to_owned()))];
        if let Some(reason) = &self.vm.reason {
            data.push(("reason", Datum::Text(reason.code.as_str().to_owned())));
            data.push(("detail", Datum::Text(reason.detail.clone())));
        }
        self.events.push(EventDraft { name, actor: None, operation, data });
    }

    pub fn event_by(&mut self, name: &'static str, ticket: &Ticket) {
        self.event(name);
        if let Some(event) = self.events.last_mut() {
            event.actor = Some(ticket.actor.clone());
        }
    }

    /// A command is under way from here on. One that was in flight is superseded.
    pub fn begin(&mut self, kind: OperationKind, ticket: &Ticket, step: &'static str) {
        if self.cancelling {
            // What is left to undo goes with what follows.
            self.cancelled();
        }
        self.fail("superseded", format!("{} was asked for meanwhile", kind.as_str()), "nothing needs to be done");
        self.vm.operation = Some(InFlight { id: ticket.operation, kind });
        self.operations.push(OperationChange::Begin { id: ticket.operation, kind, actor: ticket.actor.clone() });
        self.advance(step, 10);
    }

    pub fn advance(&mut self, step: &'static str, progress: u8) {
        if let Some(in_flight) = self.vm.operation {
            let input = OperationInput::Advance { step, progress };
            self.operations.push(OperationChange::Apply { id: in_flight.id, input });
        }
    }

    /// The VM has come to rest in its state: where the operation leads to, or, cancelled, where it began.
    pub fn settle(&mut self) {
        match self.vm.operation {
            Some(in_flight) if cancel::reached(in_flight.kind, &self.vm.state) => {
                self.vm.operation = None;
                if mutant::on(Mutant::ForgetsTheOperation) {
                    return;
                }
                self.operations.push(OperationChange::Apply { id: in_flight.id, input: OperationInput::Succeed });
            }
            Some(_) => self.cancelled(),
            None => {}
        }
    }

    pub fn cancelled(&mut self) {
        if let Some(in_flight) = self.vm.operation.take() {
            self.operations.push(OperationChange::Apply { id: in_flight.id, input: OperationInput::Cancel });
        }
    }

    pub fn fail(&mut self, code: &str, detail: String, hint: &str) {
        if let Some(in_flight) = self.vm.operation.take() {
            let error = OperationError { code: code.to_owned(), detail, hint: hint.to_owned() };
            self.operations.push(OperationChange::Apply { id: in_flight.id, input: OperationInput::Fail(error) });
        }
    }

    pub fn because(&mut self, code: ReasonCode, detail: impl Into<String>) {
        self.vm.reason = Some(Reason { code, detail: detail.into() });
    }

    /// Nothing of a machine is left: give back what it used, then `then`.
    pub fn clean(&mut self, then: Then) {
        self.vm.state = State::Stopping(Stopping { stage: StopStage::Cleaning, then, tries: 0 });
        self.advance("clean up", 80);
        self.issue(Effect::Clean);
    }

    /// End the process, then clean, then `then`.
    pub fn kill(&mut self, machine: Machine, then: Then) {
        let effect = Effect::Kill(machine.clone());
        self.vm.state = State::Stopping(Stopping { stage: StopStage::Killing(machine), then, tries: 0 });
        self.advance("end the machine", 50);
        self.issue(effect);
    }
}
