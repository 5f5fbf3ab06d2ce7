//! The promises: what was acknowledged is there, whole, no older, and states and events of a batch stand or fall together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::BufRead,
};

use crate::{
    engine::Engine,
    step::{EVENTS, MOVING, PARTS, RECORDS, Step},
};

/// The newest acknowledged version of (thread, key).
pub type Acknowledged = BTreeMap<(u64, u64), u64>;

pub fn read_acknowledged(lines: impl BufRead) -> Result<Acknowledged, String> {
    let mut acked = Acknowledged::new();
    for line in lines.lines() {
        let line = line.map_err(|error| format!("cannot read the acknowledgements: {error}"))?;
        let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [thread, key, version] = numbers[..] else {
            return Err(format!("{line:?} is no acknowledgement"));
        };
        let newest = acked.entry((thread, key)).or_default();
        *newest = version.max(*newest);
    }
    Ok(acked)
}

/// What a store holds. `None` stands for a value that is not what any step wrote.
pub struct Found {
    records: BTreeMap<String, Option<Step>>,
    moving: BTreeMap<String, Option<Step>>,
    events: Vec<(u64, Option<Step>)>,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} records, {} events", self.records.len(), self.events.len())
    }
}

impl Found {
    pub fn load(engine: &Engine) -> Result<Found, String> {
        let large = engine.large_bytes();
        let table = |table| -> Result<BTreeMap<_, _>, String> {
            Ok(engine.load(table)?.into_iter().map(|(key, value)| (key, Step::parse(&value, large))).collect())
        };
        let events = engine.events()?.into_iter().map(|(cursor, value)| (cursor, Step::parse(&value, large))).collect();
        Ok(Found { records: table(RECORDS)?, moving: table(MOVING)?, events })
    }

    pub fn broken_promises(&self, acked: &Acknowledged) -> Vec<String> {
        let mut broken = self.values();
        broken.extend(self.acknowledged(acked));
        broken.extend(self.one_moving_record(acked));
        broken.extend(self.whole_batches());
        broken
    }

    /// Every value is what some step wrote, under a name of that step.
    fn values(&self) -> Vec<String> {
        let fits = |name: &str, step: &Option<Step>| step.is_some_and(|step| (0..PARTS).any(|part| step.part_name(part) == name));
        let records =
            self.records.iter().filter(|(name, step)| !fits(name, step)).map(|(name, _)| format!("CORRUPT record {name}"));
        let moving = self.moving.iter().filter(|(name, step)| step.is_none_or(|step| step.moving_name() != **name));
        let moving = moving.map(|(name, _)| format!("CORRUPT moving record {name}"));
        let events = self.events.iter().filter(|(_, step)| step.is_none()).map(|(cursor, _)| format!("CORRUPT event {cursor}"));
        records.chain(moving).chain(events).collect()
    }

    fn acknowledged(&self, acked: &Acknowledged) -> Vec<String> {
        let mut broken = Vec::new();
        for (&(thread, key), &version) in acked {
            for part in 0..PARTS {
                let name = Step { thread, key, version }.part_name(part);
                match self.records.get(&name) {
                    None => broken.push(format!("MISSING record {name}, acknowledged in version {version}")),
                    Some(Some(found)) if found.version < version => {
                        broken.push(format!("STALE record {name} in version {}, acknowledged in {version}", found.version));
                    }
                    Some(_) => {}
                }
            }
        }
        for (thread, version) in newest_acknowledged(acked) {
            let found = self.newest_event(thread).map_or(0, |step| step.version);
            // Other threads may have written so much since that it was pruned: then its thread has no event at all.
            if found != 0 && found < version {
                broken.push(format!("STALE events of thread {thread} end at version {found}, acknowledged {version}"));
            }
        }
        broken
    }

    /// Each thread has exactly one, of its newest version: deletions are part of the promise.
    fn one_moving_record(&self, acked: &Acknowledged) -> Vec<String> {
        let mut broken = Vec::new();
        let known = self.records.values().flatten().map(|step| step.thread).chain(acked.keys().map(|(thread, _)| *thread));
        for thread in known.collect::<BTreeSet<_>>() {
            let moving: Vec<Step> = self.moving.values().flatten().copied().filter(|step| step.thread == thread).collect();
            let newest = self.records.values().flatten().filter(|step| step.thread == thread).max_by_key(|step| step.version);
            if moving.iter().collect::<Vec<_>>() != newest.into_iter().collect::<Vec<_>>() {
                broken.push(format!("CORRUPT moving records of thread {thread}: {moving:?}, its newest record is {newest:?}"));
            }
        }
        broken
    }

    /// Records and events tell the same, no event is missing between the first and the last, and none is there twice.
    fn whole_batches(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (thread, key) in self.records.values().flatten().map(|step| (step.thread, step.key)).collect::<BTreeSet<_>>() {
            let part = |part| self.records.get(&Step { thread, key, version: 0 }.part_name(part)).copied().flatten();
            if (1..PARTS).any(|other| part(other) != part(0)) {
                broken.push(format!("CORRUPT parts of {thread}-{key:04} are of different batches"));
            }
            let event =
                self.events.iter().rev().filter_map(|(_, step)| *step).find(|step| (step.thread, step.key) == (thread, key));
            if event.is_some() && event != part(0) {
                broken.push(format!("CORRUPT {thread}-{key:04} is {:?}, its last event says {event:?}", part(0)));
            }
        }
        for pair in self.events.windows(2) {
            if pair[1].0 != pair[0].0 + 1 {
                broken.push(format!("CORRUPT event {} follows {}", pair[1].0, pair[0].0));
            }
        }
        broken.extend(self.event_order());
        broken
    }

    /// Each thread's versions rise, and each batch has all its events; the first batch kept may be half pruned.
    fn event_order(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        let runs: Vec<&[(u64, Option<Step>)]> = self.events.chunk_by(|one, next| one.1 == next.1).collect();
        for (number, run) in runs.iter().enumerate() {
            let (cursor, Some(step)) = run[0] else { continue };
            let before = last.insert(step.thread, step.version).unwrap_or(0);
            if step.version <= before {
                broken.push(format!("CORRUPT event {cursor} is of version {} after {before}", step.version));
            }
            if run.len() as u64 != EVENTS && (number > 0 || run.len() as u64 > EVENTS) {
                broken.push(format!("CORRUPT batch of event {cursor} has {} of {EVENTS} events", run.len()));
            }
        }
        broken
    }

    fn newest_event(&self, thread: u64) -> Option<Step> {
        self.events.iter().rev().filter_map(|(_, step)| *step).find(|step| step.thread == thread)
    }
}

fn newest_acknowledged(acked: &Acknowledged) -> BTreeMap<u64, u64> {
    let mut newest = BTreeMap::new();
    for (&(thread, _), &version) in acked {
        let entry = newest.entry(thread).or_insert(0);
        *entry = version.max(*entry);
    }
    newest
}
