//! What happens next to a host.

use super::{
    effect::{Effect, Step},
    input::{Command, Input, Observed, Ticket},
    state::{Facts, Host, State},
};
use crate::{
    Generation, HostId, Labels, Name, Timestamp,
    event::{Datum, Draft as EventDraft},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the host is cordoned already")]
    AlreadyCordoned,
    #[error("the host is not cordoned")]
    NotCordoned,
}

/// A host that was never seen before.
pub fn register(id: HostId, name: Name, facts: Facts, now: Timestamp) -> Step {
    let next = Host {
        id,
        name,
        labels: Labels::new(),
        generation: Generation(1),
        created_at: now,
        updated_at: now,
        state: health(&facts),
        facts,
        cordoned: false,
    };
    let events = vec![event("host-registered", None, &next)];
    Step { effects: vec![capacity(&next)], next, events }
}

pub fn step(host: &Host, input: Input, now: Timestamp) -> Result<Step, Refused> {
    match (host.state, input) {
        (_, Input::Command { command: Command::Cordon, .. }) if host.cordoned => Err(Refused::AlreadyCordoned),
        (_, Input::Command { command: Command::Uncordon, .. }) if !host.cordoned => Err(Refused::NotCordoned),
        (_, Input::Command { command: Command::Cordon, ticket }) => {
            Ok(changed(host, now, "host-cordoned", Some(&ticket), |next| next.cordoned = true))
        }
        (_, Input::Command { command: Command::Uncordon, ticket }) => {
            Ok(changed(host, now, "host-uncordoned", Some(&ticket), |next| next.cordoned = false))
        }
        (_, Input::Command { command: Command::Update { labels }, ticket }) => {
            Ok(changed(host, now, "host-updated", Some(&ticket), |next| next.labels = labels.unwrap_or(next.labels.clone())))
        }
        // Nothing new: a heartbeat is no change, and writes nothing.
        (state, Input::Observed(Observed::Heartbeat(facts))) if state == health(&facts) && *facts == host.facts => {
            Ok(unchanged(host))
        }
        (before, Input::Observed(Observed::Heartbeat(facts))) => {
            let after = health(&facts);
            let name = match (before, after) {
                (State::Offline, _) => "host-online",
                (_, State::Degraded) if before != after => "host-degraded",
                (_, State::Healthy) if before != after => "host-healthy",
                (State::Healthy | State::Degraded, _) => "host-updated",
            };
            let mut step = changed(host, now, name, None, |next| {
                next.state = after;
                next.facts = *facts;
            });
            step.effects.push(capacity(&step.next));
            Ok(step)
        }
        (State::Offline, Input::Observed(Observed::Silent)) => Ok(unchanged(host)),
        (State::Healthy | State::Degraded, Input::Observed(Observed::Silent)) => {
            Ok(changed(host, now, "host-offline", None, |next| next.state = State::Offline))
        }
        (_, Input::Recovered) => {
            let mut step = unchanged(host);
            step.effects = vec![capacity(host), Effect::Probe];
            Ok(step)
        }
    }
}

/// Of two records of one machine the first stays: what was decided about either holds.
pub fn merge(host: &Host, other: &Host, now: Timestamp) -> Step {
    match other.cordoned && !host.cordoned {
        true => changed(host, now, "host-cordoned", None, |next| next.cordoned = true),
        false => unchanged(host),
    }
}

/// What is told of the other, which is no more.
pub fn merged(other: &Host) -> EventDraft {
    event("host-merged", None, other)
}

fn health(facts: &Facts) -> State {
    if facts.problems.is_empty() && facts.network_problem.is_none() { State::Healthy } else { State::Degraded }
}

fn capacity(host: &Host) -> Effect {
    Effect::SetCapacity { vcpus: host.facts.vm_vcpus, mem_mib: host.facts.vm_mem_mib }
}

fn unchanged(host: &Host) -> Step {
    Step { next: host.clone(), events: vec![], effects: vec![] }
}

fn changed(host: &Host, now: Timestamp, name: &'static str, ticket: Option<&Ticket>, change: impl FnOnce(&mut Host)) -> Step {
    let mut next = host.clone();
    next.generation = next.generation.next();
    next.updated_at = now;
    change(&mut next);
    Step { events: vec![event(name, ticket, &next)], next, effects: vec![] }
}

fn event(name: &'static str, ticket: Option<&Ticket>, host: &Host) -> EventDraft {
    EventDraft {
        name,
        actor: ticket.map(|ticket| ticket.actor.clone()),
        operation: None,
        data: vec![("state", Datum::Text(host.state.name().to_owned()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::{Capabilities, VmmFacts},
        vm::Driver,
    };

    fn facts(problem: bool) -> Facts {
        Facts {
            hostname: "h".into(),
            kernel: "6".into(),
            architecture: "x86_64".into(),
            cpu_model: "c".into(),
            cpus: 2,
            mem_mib: 1000,
            vm_vcpus: 2,
            vm_mem_mib: 800,
            hearth_version: "0".into(),
            vmm: VmmFacts {
                driver: Driver::Qemu,
                version: "7.2".into(),
                acceleration: "tcg".into(),
                chosen_because: "test".into(),
            },
            network_problem: problem.then(|| "no bridge".to_owned()),
            problems: vec![],
            capabilities: Capabilities::NONE,
        }
    }

    fn host(state: State, cordoned: bool) -> Host {
        let name: Name = "h".parse().expect("a name");
        let mut host = register(HostId::from_bits(1), name, facts(state == State::Degraded), Timestamp(1)).next;
        host.state = state;
        host.cordoned = cordoned;
        host
    }

    #[test]
    fn every_state_by_every_input() {
        let ticket = || Ticket { actor: "user:admin".into() };
        let command = |command| Input::Command { command, ticket: ticket() };
        let rows: Vec<(Input, [&str; 3])> = vec![
            (command(Command::Cordon), ["healthy", "degraded", "offline"]),
            (command(Command::Uncordon), ["not cordoned", "not cordoned", "not cordoned"]),
            (command(Command::Update { labels: None }), ["healthy", "degraded", "offline"]),
            (Input::Observed(Observed::Heartbeat(Box::new(facts(false)))), ["healthy", "healthy", "healthy"]),
            (Input::Observed(Observed::Heartbeat(Box::new(facts(true)))), ["degraded", "degraded", "degraded"]),
            (Input::Observed(Observed::Silent), ["offline", "offline", "offline"]),
            (Input::Recovered, ["healthy", "degraded", "offline"]),
        ];
        for (input, expected) in rows {
            for (state, expected) in [State::Healthy, State::Degraded, State::Offline].into_iter().zip(expected) {
                let got = match step(&host(state, false), input.clone(), Timestamp(2)) {
                    Err(refused) => refused.to_string(),
                    Ok(step) => {
                        super::super::invariant::check(&step.next).expect("the invariants hold");
                        step.next.state.name().to_owned()
                    }
                };
                assert!(got.contains(expected), "{state:?} + {input:?}: {got}");
            }
        }
        let refused = step(&host(State::Healthy, true), command(Command::Cordon), Timestamp(2));
        assert_eq!(refused, Err(Refused::AlreadyCordoned));
    }

    #[test]
    fn of_two_records_of_one_machine_the_decisions_about_both_hold() {
        for (own, other) in [(false, false), (false, true), (true, false), (true, true)] {
            let before = host(State::Healthy, own);
            let step = merge(&before, &host(State::Degraded, other), Timestamp(9));
            assert_eq!(step.next.cordoned, own || other);
            let told: Vec<_> = step.events.iter().map(|event| event.name).collect();
            assert_eq!(told, if other && !own { vec!["host-cordoned"] } else { vec![] });
            assert_eq!((step.next.id, step.next.state, step.next.facts), (before.id, before.state, before.facts));
        }
    }

    #[test]
    fn a_heartbeat_without_news_writes_nothing() {
        let before = host(State::Healthy, false);
        let step = step(&before, Input::Observed(Observed::Heartbeat(Box::new(facts(false)))), Timestamp(9)).expect("accepted");
        assert_eq!(step.next, before);
        assert!(step.events.is_empty());
    }
}
