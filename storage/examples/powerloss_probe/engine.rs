//! The stores under test behind one face: the journal, and sled by hand with and without the sync that it needs.
//!
//! By hand is a write path of this example alone: nothing of it is reachable from the journal.

use std::{
    fs::File,
    path::Path,
    sync::{Mutex, PoisonError},
};

use storage::{Batch, Journal, Options, READ_LIMIT};

use crate::step::{EVENTS, KEYS, MOVING, PARTS, RECORDS, Step};

/// Few enough that a run prunes all the time.
const KEEP_EVENTS: u64 = 300;
/// The journal cuts this into three pieces.
const JOURNAL_LARGE_BYTES: usize = 9000;
/// By hand nothing is cut, and a leaf of 16 such stays below the size at which sled makes blob files, which it never syncs: the
/// one difference between the two ways by hand shall be the sync.
const BY_HAND_LARGE_BYTES: usize = 2000;
/// Batches of the first start by hand; versions that are acknowledged lie above.
const PREPARED: u64 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Journal,
    SledFlush,
    SledSync,
}

impl Kind {
    pub fn parse(name: &str) -> Option<Kind> {
        match name {
            "journal" => Some(Kind::Journal),
            "sled-flush" => Some(Kind::SledFlush),
            "sled-sync" => Some(Kind::SledSync),
            _ => None,
        }
    }
}

pub enum Engine {
    Journal(Journal),
    ByHand(ByHand),
}

pub struct ByHand {
    db: sled::Db,
    /// `None`: only sled's own flush.
    sync: Option<File>,
    /// The newest event. Held while a batch is applied, so that cursors rise in order.
    latest: Mutex<u64>,
}

pub type Records = Vec<(String, Vec<u8>)>;

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

impl Engine {
    pub fn open(kind: Kind, dir: &Path) -> Result<Engine, String> {
        if kind == Kind::Journal {
            let options = Options { keep_events: KEEP_EVENTS, ..Options::new(dir) };
            return Journal::open(options).map(Engine::Journal).map_err(text);
        }
        let db = guarded(|| sled::Config::new().path(dir).cache_capacity(64 << 20).flush_every_ms(None).open())?;
        let last = guarded(|| db.scan_prefix(b"e/").next_back().transpose())?;
        let latest = last.map_or(Some(0), |(key, _)| cursor(&key)).ok_or("an event has a damaged key")?;
        let mut by_hand = ByHand { db, sync: None, latest: Mutex::new(latest) };
        if latest == 0 {
            by_hand.prepare()?;
        }
        // The file and its name, once: without, nothing at all would be left, which shows less than what a missing sync per batch does.
        let file = File::open(dir.join("db")).and_then(|file| file.sync_all().map(|()| file)).map_err(text)?;
        for folder in [Some(dir), dir.parent()].into_iter().flatten() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(text)?;
        }
        by_hand.sync = (kind == Kind::SledSync).then_some(file);
        Ok(Engine::ByHand(by_hand))
    }

    pub fn large_bytes(&self) -> usize {
        match self {
            Engine::Journal(_) => JOURNAL_LARGE_BYTES,
            Engine::ByHand(_) => BY_HAND_LARGE_BYTES,
        }
    }

    /// Returns once the engine says that the batch is durable. The moving record of the thread's `before` goes with it.
    pub fn commit(&self, step: Step, before: Option<Step>) -> Result<(), String> {
        let value = step.value(self.large_bytes());
        match self {
            Engine::Journal(journal) => {
                let mut batch = Batch::default();
                for part in 0..PARTS {
                    batch = batch.put(RECORDS, step.part_name(part), value.clone());
                }
                for _ in 0..EVENTS {
                    batch = batch.event(value.clone());
                }
                if let Some(before) = before {
                    batch = batch.delete(MOVING, before.moving_name());
                }
                journal.commit_blocking(batch.put(MOVING, step.moving_name(), value)).map(drop).map_err(text)
            }
            Engine::ByHand(by_hand) => by_hand.commit(step, before, &value),
        }
    }

    pub fn load(&self, table: &str) -> Result<Records, String> {
        match self {
            Engine::Journal(journal) => journal.load(table).map(|loaded| loaded.records).map_err(text),
            Engine::ByHand(by_hand) => {
                let prefix = format!("s/{table}/");
                let entries = guarded(|| by_hand.db.scan_prefix(&prefix).collect::<Result<Vec<_>, _>>())?;
                let named = |key: &[u8]| String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
                Ok(entries.into_iter().map(|(key, value)| (named(&key), value.to_vec())).collect())
            }
        }
    }

    /// All events kept, by cursor.
    pub fn events(&self) -> Result<Vec<(u64, Vec<u8>)>, String> {
        match self {
            Engine::Journal(journal) => {
                let (latest, mut events) = (journal.latest(), Vec::new());
                let mut after = journal.oldest().saturating_sub(1);
                while after < latest {
                    // A writer that is idle prunes: what it takes meanwhile is no loss.
                    let page = match journal.read(after, READ_LIMIT) {
                        Err(storage::ReadError::Expired { oldest }) if events.is_empty() && oldest > after + 1 => {
                            after = oldest - 1;
                            continue;
                        }
                        page => page.map_err(text)?,
                    };
                    after = page.last().ok_or_else(|| format!("no event after {after} of {latest}"))?.0;
                    events.extend(page.into_iter().map(|(cursor, value)| (cursor, value.to_vec())));
                }
                Ok(events)
            }
            Engine::ByHand(by_hand) => {
                let entries = guarded(|| by_hand.db.scan_prefix(b"e/").collect::<Result<Vec<_>, _>>())?;
                let event = |(key, value): (sled::IVec, sled::IVec)| Some((cursor(&key)?, value.to_vec()));
                entries.into_iter().map(event).collect::<Option<_>>().ok_or_else(|| "an event has a damaged key".into())
            }
        }
    }

    /// The thread's newest step, by its moving record.
    pub fn newest(&self, thread: u64) -> Result<Option<Step>, String> {
        let steps = self.load(MOVING)?.into_iter().filter_map(|(_, value)| Step::parse(&value, self.large_bytes()));
        Ok(steps.filter(|step| step.thread == thread).max_by_key(|step| step.version))
    }
}

impl ByHand {
    /// Fills some segments, so that later writes go to blocks that the file already has.
    fn prepare(&self) -> Result<(), String> {
        let mut before = None;
        for version in 1..=PREPARED {
            let step = Step { thread: 0, key: version % KEYS, version };
            self.apply(step, before, &step.value(BY_HAND_LARGE_BYTES))?;
            before = Some(step);
        }
        guarded(|| self.db.flush()).map(drop)
    }

    fn commit(&self, step: Step, before: Option<Step>, value: &[u8]) -> Result<(), String> {
        self.apply(step, before, value)?;
        guarded(|| self.db.flush())?;
        self.sync.as_ref().map_or(Ok(()), |file| file.sync_data().map_err(text))
    }

    fn apply(&self, step: Step, before: Option<Step>, value: &[u8]) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for part in 0..PARTS {
            batch.insert(format!("s/{RECORDS}/{}", step.part_name(part)).into_bytes(), value);
        }
        if let Some(before) = before {
            batch.remove(format!("s/{MOVING}/{}", before.moving_name()).into_bytes());
        }
        batch.insert(format!("s/{MOVING}/{}", step.moving_name()).into_bytes(), value);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        for event in 0..EVENTS {
            batch.insert([b"e/", &(*latest + 1 + event).to_be_bytes()[..]].concat(), value);
            if let Some(old) = (*latest + 1 + event).checked_sub(KEEP_EVENTS) {
                batch.remove([b"e/", &old.to_be_bytes()[..]].concat());
            }
        }
        guarded(|| self.db.apply_batch(batch))?;
        *latest += EVENTS;
        Ok(())
    }
}

fn cursor(key: &[u8]) -> Option<u64> {
    key.strip_prefix(b"e/")?.try_into().ok().map(u64::from_be_bytes)
}

/// sled panics over some damage.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call))
        .map_or_else(|_| Err("sled panicked".into()), |result| result.map_err(text))
}
