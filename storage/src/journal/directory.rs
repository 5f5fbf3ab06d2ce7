//! The directory of a journal: whose it is, who uses it, in which format.
//!
//! Owns `lock` (held as long as the writer lives, holds the pid), `format` (what the rest of the directory is) and
//! `acknowledged` (a number that the store may not be behind). It does not look into sled's files.
//!
//! `format` is written twice: "preparing" before sled makes its files, final once they are on disk. So a crash in
//! the first start is told from somebody else's directory, and a lost data file from a new journal.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::error::OpenError;

const LOCK: &str = "lock";
const MARKER: &str = "format";
const MARKER_DRAFT: &str = "format.draft";
const DATA: &str = "db";
const ACKNOWLEDGED: &str = "acknowledged";
/// 2: values in several entries have a sum. 1 is read, and written as 2 from then on.
const FORMAT: &str = "hearth journal 2\n";
const PREPARING: &str = "hearth journal 2, preparing\n";
const FORMAT_1: &str = "hearth journal 1\n";
const PREPARING_1: &str = "hearth journal 1, preparing\n";

/// sled gives up its lock from threads of its pool shortly after its last handle; normally within a millisecond.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);
/// flock has no wait with a deadline, so its end is polled.
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// The number of the last batch that was acknowledged, beside the store, because sled takes damage in the middle of
/// its log for a torn end and opens at an earlier, consistent state (seen with 16 flipped bytes in 5 places of 23).
///
/// The newest event of that batch stands behind it, so that a repair knows which events are lost.
///
/// Written after the store's sync and never synced itself: a loss of power may leave it behind the store, which is
/// harmless; kill -9 does not. It is never ahead.
pub(crate) struct Acknowledged(File);

impl Acknowledged {
    pub fn open(path: &Path) -> io::Result<Acknowledged> {
        File::options().write(true).create(true).truncate(false).open(path.join(ACKNOWLEDGED)).map(Acknowledged)
    }

    /// In place and of one length, so that it needs no room on a full disk.
    pub fn record(&self, noted: Noted) -> io::Result<()> {
        self.0.write_all_at(format!("{:020} {:020}\n", noted.number, noted.latest).as_bytes(), 0)
    }
}

/// What the file `acknowledged` says; zeros when it is absent, lost or cut in a loss of power: it then says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The last batch.
    pub number: u64,
    /// The newest event as of that batch. Journals of earlier versions have only the batch.
    pub latest: u64,
}

/// Reads it and makes nothing.
pub(crate) fn noted(path: &Path) -> io::Result<Noted> {
    let text = match fs::read(path.join(ACKNOWLEDGED)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Noted::default()),
        Err(error) => return Err(error),
    };
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0));
    Ok(Noted { number: numbers.next().unwrap_or(0), latest: numbers.next().unwrap_or(0) })
}

/// What lies in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or a first start that did not end.
    Fresh,
    Ready,
}

#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Creates the directory when it is missing, locks it and looks whose it is.
    pub fn claim(path: &Path) -> Result<(Directory, Found), OpenError> {
        fs::create_dir_all(path).map_err(|source| OpenError::Create { path: path.into(), source })?;
        // Before the lock, so that not even a file of ours is left in somebody else's directory.
        inspect(path)?;
        let lock = take_lock(path)?;
        // Again: whoever held the lock until now may have prepared it.
        let found = inspect(path)?;
        let mut directory = Directory { path: path.into(), lock };
        if found == Found::Fresh {
            directory.sign()?;
            directory.mark(PREPARING)?;
        }
        Ok((directory, found))
    }

    /// Writes our pid into the lock. In a journal that was there before only once it is known to be whole: what is refused stays as
    /// it was, to the byte.
    pub fn sign(&mut self) -> Result<(), OpenError> {
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&mut self.lock).map_err(|source| OpenError::Lock { path: self.path.join(LOCK), source })
    }

    /// Called once the first files of the store are on disk, and before the first write into a journal of an earlier format.
    pub fn mark_ready(&self) -> Result<(), OpenError> {
        match fs::read(self.path.join(MARKER)) {
            Ok(bytes) if bytes == FORMAT.as_bytes() => Ok(()),
            _ => self.mark(FORMAT),
        }
    }

    /// Waits until sled has let go of its file, then gives up the directory.
    pub fn release(self) {
        let deadline = Instant::now() + RELEASE_DEADLINE;
        while store_is_held(&self.path.join(DATA)) {
            if Instant::now() >= deadline {
                tracing::warn!(path = %self.path.display(), "the store still holds its file, the next start may be refused");
                break;
            }
            std::thread::sleep(RELEASE_POLL);
        }
        // Explicitly: a process forked a moment ago may share the handle until it has exec'ed.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "cannot unlock the journal, it ends with this process");
        }
    }

    fn mark(&self, content: &str) -> Result<(), OpenError> {
        let path = self.path.join(MARKER);
        let write = || {
            let draft = self.path.join(MARKER_DRAFT);
            let mut file = File::create(&draft)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            // The names of all files, sled's too, and that of the directory itself.
            File::open(&self.path)?.sync_all()?;
            match self.path.canonicalize()?.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|source| OpenError::WriteMarker { path: path.clone(), source })
    }
}

/// The lock of a journal that is there, without writing anything.
pub(crate) fn hold(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.join(LOCK);
    match inspect(path) {
        Ok(Found::Ready) => {}
        Ok(Found::Fresh) => return Err(OpenError::Nothing { path: path.into() }),
        Err(OpenError::ReadMarker { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Nothing { path: path.into() });
        }
        Err(error) => return Err(error),
    }
    let mut lock = File::open(&lock_path).map_err(|source| OpenError::Lock { path: lock_path.clone(), source })?;
    try_lock(&mut lock, path)?;
    Ok(lock)
}

fn try_lock(lock: &mut File, path: &Path) -> Result<(), OpenError> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(OpenError::InUse { path: path.into(), pid })
        }
        Err(TryLockError::Error(source)) => Err(OpenError::Lock { path: path.join(LOCK), source }),
    }
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.join(LOCK);
    let failed = |source| OpenError::Lock { path: lock_path.clone(), source };
    let mut lock = File::options().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(failed)?;
    try_lock(&mut lock, path)?;
    Ok(lock)
}

fn inspect(path: &Path) -> Result<Found, OpenError> {
    let marker = path.join(MARKER);
    match fs::read(&marker) {
        Ok(bytes) if [FORMAT, FORMAT_1].iter().any(|known| bytes == known.as_bytes()) => Ok(Found::Ready),
        Ok(bytes) if [PREPARING, PREPARING_1].iter().any(|known| bytes == known.as_bytes()) => Ok(Found::Fresh),
        Ok(bytes) => {
            let found = String::from_utf8_lossy(&bytes).chars().take(64).collect::<String>().trim_end().to_owned();
            Err(OpenError::Format { path: path.into(), found, known: FORMAT.trim_end() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match stranger(path) {
            Ok(None) => Ok(Found::Fresh),
            Ok(Some(found)) => Err(OpenError::Foreign { path: path.into(), found }),
            Err(source) => Err(OpenError::ReadMarker { path: marker, source }),
        },
        Err(source) => Err(OpenError::ReadMarker { path: marker, source }),
    }
}

/// A name in the directory that a first start of ours cannot have left.
fn stranger(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK && name != MARKER_DRAFT {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// A data file that is gone is not held.
fn store_is_held(data: &Path) -> bool {
    let Ok(file) = File::open(data) else {
        return false;
    };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Whether a journal that was once ready still has its data.
pub(crate) fn has_data(path: &Path) -> bool {
    path.join(DATA).is_file()
}

/// 0 when it cannot be told.
pub(crate) fn data_bytes(path: &Path) -> u64 {
    fs::metadata(path.join(DATA)).map_or(0, |data| data.len())
}
