//! A journal that no server runs on: looked at without writing, and mended. What `hearth fsck` and `hearth restore` stand on.
//!
//! Owns the lock while it lives, and the exchange of a folder for its repaired self. Finding what can be read is `journal::rescue`'s,
//! what records mean is domain's.

use crate::{
    envelope,
    error::{OpenError, StoreFault},
    journal::{Finding, Head, Rebuild, Rescued, contents, examine, hold, rescue},
};
use domain::{
    Generation, Timestamp,
    event::{Event, Kind},
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The name of the event that stands for one that can't be read any more.
pub const EVENT_LOST: &str = "event-lost";

/// Nobody else uses the journal while this lives. Nothing in its folder is changed but by `replace`.
#[derive(Debug)]
pub struct Offline {
    folder: PathBuf,
    _lock: File,
}

impl Offline {
    /// # Errors
    /// `InUse` while a server runs on it, `Nothing`, `Foreign`, `Format`; or the lock can't be had.
    pub fn open(folder: &Path) -> Result<Offline, OpenError> {
        Ok(Offline { folder: folder.to_owned(), _lock: hold(folder)? })
    }

    /// Whether a server would start on it.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn health(&self) -> Result<(), String> {
        examine(&self.folder).map(drop).map_err(Finding::text)
    }

    /// All that can be read, whatever the state of the store.
    ///
    /// # Errors
    /// The data file can't be opened or read at all.
    pub fn read(&self) -> io::Result<Rescued> {
        match contents(&self.folder) {
            Ok(whole) => Ok(whole),
            Err(_) => rescue(&self.folder),
        }
    }

    /// Puts a journal with this content in the folder's place and answers where the old one is kept.
    ///
    /// # Errors
    /// The new one can't be written; the old one is then as it was.
    pub fn replace(self, content: &Rescued) -> Result<PathBuf, OpenError> {
        let made = beside(&self.folder, "repaired");
        let failed = |step| {
            let path = self.folder.clone();
            move |source| OpenError::Prepare { path, source: StoreFault::File { step, source } }
        };
        if made.exists() {
            // Of a repair that was cut short: it never took the journal's place.
            fs::remove_dir_all(&made).map_err(failed("remove an unfinished repair"))?;
        }
        write(&made, content)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let kept = beside(&self.folder, &format!("damaged-{now}"));
        exchange(&made, &self.folder).map_err(failed("put the repaired journal in place"))?;
        fs::rename(&made, &kept).map_err(failed("move the damaged journal aside"))?;
        sync_parent(&self.folder).map_err(failed("sync the folder"))?;
        Ok(kept)
    }
}

/// `journal` -> `journal.WORD`.
fn beside(folder: &Path, word: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{word}"));
    folder.with_file_name(name)
}

/// Both names at once, so that no crash leaves neither.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, one, here, other, rustix::fs::RenameFlags::EXCHANGE)?;
    sync_parent(other)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a journal with this content into a new folder.
///
/// # Errors
/// The folder holds something, or the disk refuses.
pub fn write(folder: &Path, content: &Rescued) -> Result<(), OpenError> {
    let failed = |source| OpenError::Prepare { path: folder.into(), source };
    let mut rebuild = Rebuild::begin(folder)?;
    for ((table, key), value) in &content.records {
        rebuild.record(table, key, value).map_err(failed)?;
    }
    let (oldest, latest) = content.bounds;
    let lost = envelope::encode(&lost_event())
        .map_err(|error| failed(StoreFault::Inconsistent { detail: format!("a placeholder does not encode: {error}") }))?;
    for cursor in oldest.max(1)..=latest {
        rebuild.event(cursor, content.events.get(&cursor).unwrap_or(&lost)).map_err(failed)?;
    }
    rebuild.finish(Head { number: content.number, latest, oldest }, folder)
}

/// Stands for an event that is lost, so that no number is given twice and whoever follows the stream sees that something is missing.
fn lost_event() -> Event {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Event {
        time: Timestamp(now),
        kind: Kind::Host,
        id: String::new(),
        name: String::new(),
        project: "default".parse().expect("a name of lower-case letters"),
        generation: Generation(0),
        event: EVENT_LOST.to_owned(),
        actor: "system:fsck".to_owned(),
        operation: None,
        data: Vec::new(),
    }
}
