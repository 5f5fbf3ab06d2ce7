//! What is kept of events and of ended operations: the newest, never fewer than was asked for, and in the end hardly more.

use super::{Broken, Durable, Story};

/// What a node was told to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub events: u64,
    pub ended_operations: u64,
    /// So many more ended operations may be there before the oldest are forgotten.
    pub at_once: u64,
}

/// The events that are there: the bounds that are told, and how many there are within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub oldest: u64,
    pub latest: u64,
    pub count: u64,
}

impl Keep {
    /// Holds at every moment: no gap, and nothing is gone that is to be kept. `story` has heard all that is durable.
    pub fn check(&self, durable: &Durable, story: &Story, events: Kept, broken: &mut Vec<Broken>) {
        let within = if events.latest == 0 { 0 } else { events.latest + 1 - events.oldest };
        if events.count != within {
            let detail = format!("{} are there from {} to {}", events.count, events.oldest, events.latest);
            broken.push(Broken::Event { cursor: events.latest, detail });
        }
        let mut at_least = |what, there: u64, all: u64, keep: u64| {
            let wanted = all.min(keep);
            if there < wanted {
                broken.push(Broken::Kept { what, there, wanted });
            }
        };
        at_least("events", events.count, events.latest, self.events);
        at_least("ended operations", ended(durable), story.ended_operations(), self.ended_operations);
    }

    /// Holds once all is quiet: what is too old has gone.
    pub fn settled(&self, events: Kept, broken: &mut Vec<Broken>) {
        if events.count > self.events {
            broken.push(Broken::Kept { what: "events", there: events.count, wanted: self.events });
        }
    }

    /// Holds once all is quiet.
    pub fn forgotten(&self, durable: &Durable, broken: &mut Vec<Broken>) {
        let (there, most) = (ended(durable), self.ended_operations + self.at_once);
        if there > most {
            broken.push(Broken::Kept { what: "ended operations", there, wanted: most });
        }
    }
}

fn ended(durable: &Durable) -> u64 {
    durable.operations.values().filter(|operation| operation.status.is_final()).count() as u64
}
