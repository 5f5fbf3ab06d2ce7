//! Subscribers: each remembers how far it has heard, in its own memory, which no crash of a node reaches, and goes on from there.
//!
//! A cursor whose events are kept is answered without a gap, with what is durable and nothing else; one whose events are pruned is refused
//! with the oldest that is kept, from which going on always works. Some are too slow on purpose, and some ask for any number.

use crate::{chance::Chance, node::SimNode};
use storage::{Journal, ReadError};

struct Subscriber {
    node: usize,
    /// The newest event that it has heard.
    cursor: u64,
    next_at: u64,
    /// How long it is away, at most.
    away_ms: u64,
}

pub struct Subscribers {
    chance: Chance,
    all: Vec<Subscriber>,
    pub heard: u64,
    /// Too slow: what came next was pruned.
    pub refused: u64,
    pub broken: Vec<String>,
}

impl Subscribers {
    pub fn new(seed: u64, nodes: usize) -> Subscribers {
        let mut chance = Chance::new(seed, "subscribers");
        let mut all = Vec::new();
        for node in 0..nodes {
            for away_ms in [500, 20_000, 300_000] {
                all.push(Subscriber { node, cursor: 0, next_at: chance.between(0, away_ms), away_ms });
            }
        }
        Subscribers { chance, all, heard: 0, refused: 0, broken: Vec::new() }
    }

    /// Who is there again hears what is new.
    pub fn turn(&mut self, nodes: &[SimNode], now: u64) {
        for index in 0..self.all.len() {
            if self.all[index].next_at > now {
                continue;
            }
            let away_ms = self.all[index].away_ms;
            self.all[index].next_at = now + self.chance.between(1, away_ms);
            let node = &nodes[self.all[index].node];
            let Some(journal) = node.node().map(|node| node.journal().clone()) else { continue };
            self.follow(index, node, &journal);
            let anywhere = self.chance.between(0, journal.latest() + 2);
            self.ask(node, &journal, anywhere);
        }
    }

    /// Until it has heard all, or has had enough.
    fn follow(&mut self, index: usize, node: &SimNode, journal: &Journal) {
        for _ in 0..self.chance.between(1, 4) {
            let from = self.all[index].cursor;
            match self.ask(node, journal, from) {
                Some(Ok(last)) => self.all[index].cursor = last,
                Some(Err(oldest)) => {
                    self.refused += 1;
                    // It looks at everything anew, and goes on from what is kept.
                    self.all[index].cursor = oldest - 1;
                    if !matches!(self.ask(node, journal, oldest - 1), Some(Ok(_)) | None) {
                        self.broken.push(format!("{}: going on from the oldest event kept ({oldest}) is refused", node.name()));
                    }
                }
                None => return,
            }
        }
    }

    /// The last event that was heard, or the oldest that is kept when the next is none of them; nothing when nobody can answer.
    fn ask(&mut self, node: &SimNode, journal: &Journal, after: u64) -> Option<Result<u64, u64>> {
        let limit = self.chance.between(1, 200) as usize;
        let disk = &node.machine.disk;
        // A write that failed may have pruned all the same, which the journal that failed can't know.
        let failed = node.is_stuck();
        let (oldest, _) = disk.events();
        let mut wrong = |what: String| self.broken.push(format!("{}: reading after {after}: {what}", node.name()));
        match journal.read(after, limit) {
            Ok(events) => {
                for ((cursor, bytes), expected) in events.iter().zip(after + 1..) {
                    if *cursor != expected {
                        wrong(format!("event {cursor} comes where {expected} should"));
                    }
                    if disk.told(*cursor).as_deref() != Some(bytes) {
                        wrong(format!("event {cursor} is not what is durable"));
                    }
                }
                if events.is_empty() && after < journal.latest() {
                    wrong(format!("nothing comes, and {} is the newest", journal.latest()));
                }
                if !events.is_empty() && after + 1 < oldest && !failed {
                    wrong(format!("event {} is told and was pruned", after + 1));
                }
                self.heard += events.len() as u64;
                Some(Ok(after + events.len() as u64))
            }
            Err(ReadError::Expired { oldest: told }) => {
                if after + 1 >= oldest {
                    wrong(format!("it is refused, and {oldest} is kept"));
                }
                if told != oldest && !failed {
                    wrong(format!("the oldest kept is said to be {told}, and is {oldest}"));
                }
                Some(Err(told))
            }
            // Only near the head is a journal read that can't write; and one that is being closed is not.
            Err(ReadError::Poisoned { .. }) if failed => None,
            Err(ReadError::Closed) => None,
            Err(error) => {
                wrong(error.to_string());
                None
            }
        }
    }
}
