//! The server's actors in words.

use api::v1::{ActorKind, ActorView, Doing};

/// The root and the supervisors: they are always shown.
pub fn is_above(actor: &ActorView) -> bool {
    actor.parent.as_deref().is_none_or(|parent| parent == "node")
}

/// What is unusual about a supervisor's children; what is 0 is left out.
pub fn unusual_words(kind: &ActorKind) -> Option<String> {
    let counts =
        [(kind.stalled, "stuck"), (kind.overdue, "overdue"), (kind.restarting, "restarting"), (kind.quarantined, "set aside")];
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What an actor does just now, for how long already.
pub fn doing(actor: &ActorView) -> String {
    let mut words = Vec::new();
    if let Some(message) = &actor.message {
        words.push(lasting(message));
    }
    if let Some(waits) = &actor.waits_for {
        words.push(format!("waiting for {}", lasting(waits)));
    }
    if let Some(effect) = &actor.effect {
        words.push(format!("beside it {}", lasting(effect)));
    }
    words.join(", ")
}

fn lasting(doing: &Doing) -> String {
    if doing.for_ms < 1000 { doing.what.clone() } else { format!("{} for {} s", doing.what, doing.for_ms / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn going(what: &str, for_ms: u64) -> Option<Doing> {
        Some(Doing { what: what.to_owned(), for_ms })
    }

    #[test]
    fn what_an_actor_does_is_told_in_words() {
        let mut actor = ActorView {
            name: "vm_a".into(),
            parent: Some("vms".into()),
            state: "running".into(),
            restarts: 0,
            last_error: None,
            mailbox: 0,
            message: None,
            waits_for: None,
            effect: None,
        };
        assert_eq!((doing(&actor), is_above(&actor)), (String::new(), false));
        (actor.message, actor.waits_for) = (going("command start", 61_500), going("the journal", 200));
        actor.effect = going("launch", 2_000);
        assert_eq!(doing(&actor), "command start for 61 s, waiting for the journal, beside it launch for 2 s");
        actor.parent = Some("node".into());
        assert!(is_above(&actor));
    }

    #[test]
    fn only_what_is_unusual_is_told_of_many() {
        let mut kind = ActorKind {
            kind: "vms".into(),
            actors: 100_000,
            stalled: 0,
            overdue: 0,
            restarting: 0,
            quarantined: 0,
            restarts: 7,
            mailbox: 3,
        };
        assert_eq!(unusual_words(&kind), None);
        (kind.stalled, kind.quarantined) = (1, 2);
        assert_eq!(unusual_words(&kind).as_deref(), Some("1 stuck, 2 set aside"));
    }
}
