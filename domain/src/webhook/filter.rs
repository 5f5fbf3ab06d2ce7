//! Which events a webhook wants.

use crate::{
    Name, WebhookId,
    event::{Event, Kind},
};
use serde::{Deserialize, Serialize};

/// Bounds of the lists: what a record of the journal and a person can hold.
pub const TYPES_MAX: usize = 64;
pub const IDS_MAX: usize = 256;
/// Of a type or an id.
pub const WORD_MAX: usize = 64;

/// What webhooks bring about by themselves. Were such an event sent by a webhook, one failing delivery could cause another without end.
pub const OWN_DOING: [&str; 2] = ["webhook-dead-lettered", "webhook-disabled"];

/// An empty list wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub kinds: Vec<Kind>,
    /// `vm-started`, …
    pub types: Vec<String>,
    pub ids: Vec<String>,
    pub project: Option<Name>,
}

impl Filter {
    /// `own`: the webhook that asks. It is not told of itself either.
    pub fn wants(&self, own: WebhookId, event: &Event) -> bool {
        if event.kind == Kind::Webhook && (OWN_DOING.contains(&event.event.as_str()) || event.id == own.to_string()) {
            return false;
        }
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.types.is_empty() || self.types.contains(&event.event))
            && (self.ids.is_empty() || self.ids.contains(&event.id))
            // A host belongs to no project, hence to all.
            && self.project.as_ref().is_none_or(|project| event.kind == Kind::Host || event.project == *project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Timestamp};

    fn event(kind: Kind, id: &str, called: &str) -> Event {
        Event {
            time: Timestamp(1),
            kind,
            id: id.into(),
            name: "x".into(),
            project: "default".parse().expect("a name"),
            generation: Generation(1),
            event: called.into(),
            actor: "system".into(),
            operation: None,
            data: vec![],
        }
    }

    #[test]
    fn all_lists_must_fit_and_an_empty_one_always_does() {
        let own = WebhookId::from_bits(1);
        let vm = event(Kind::Vm, "vm_1", "vm-started");
        assert!(Filter::default().wants(own, &vm));
        let full = Filter {
            kinds: vec![Kind::Vm],
            types: vec!["vm-started".into()],
            ids: vec!["vm_1".into()],
            project: Some("default".parse().expect("a name")),
        };
        assert!(full.wants(own, &vm));
        let other = |change: fn(&mut Filter)| {
            let mut filter = full.clone();
            change(&mut filter);
            filter.wants(own, &vm)
        };
        assert!(!other(|filter| filter.kinds = vec![Kind::Image]));
        assert!(!other(|filter| filter.types = vec!["vm-stopped".into()]));
        assert!(!other(|filter| filter.ids = vec!["vm_2".into()]));
        assert!(!other(|filter| filter.project = Some("other".parse().expect("a name"))));
        assert!(
            Filter { project: Some("other".parse().expect("a name")), ..Filter::default() }
                .wants(own, &event(Kind::Host, "h", "host-updated"))
        );
    }

    #[test]
    fn what_webhooks_do_by_themselves_is_told_to_no_webhook() {
        let own = WebhookId::from_bits(1);
        for called in OWN_DOING {
            assert!(!Filter::default().wants(own, &event(Kind::Webhook, "wh_other", called)), "{called}");
        }
        assert!(!Filter::default().wants(own, &event(Kind::Webhook, &own.to_string(), "webhook-updated")), "itself");
        assert!(Filter::default().wants(own, &event(Kind::Webhook, "wh_other", "webhook-created")), "what people do");
    }
}
