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
const FORMAT: &str = "hearth journal 1\n";
const PREPARING: &str = "hearth journal 1, preparing\n";

/// sled gives up its lock from threads of its pool shortly after its last handle; normally within a millisecond.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);
/// flock has no wait with a deadline, so its end is polled.
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// The number of the last batch that was acknowledged, beside the store, because sled takes damage in the middle of
/// its log for a torn end and opens at an earlier, consistent state (seen with 16 flipped bytes in 5 places of 23).
///
/// Written after the store's sync and never synced itself: a loss of power may leave it behind the store, which is
/// harmless; kill -9 does not. It is never ahead.
pub(super) struct Acknowledged(File);

impl Acknowledged {
    /// With the number found; 0 in a new journal.
    pub fn open(path: &Path) -> io::Result<(Acknowledged, u64)> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path.join(ACKNOWLEDGED))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // Lost or cut in a loss of power: it then says nothing.
        Ok((Acknowledged(file), text.trim().parse().unwrap_or(0)))
    }

    /// In place and of one length, so that it needs no room on a full disk.
    pub fn record(&self, number: u64) -> io::Result<()> {
        self.0.write_all_at(format!("{number:020}\n").as_bytes(), 0)
    }
}

/// What lies in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or a first start that did not end.
    Fresh,
    Ready,
}

#[derive(Debug)]
pub(super) struct Directory {
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
        let directory = Directory { path: path.into(), lock };
        if found == Found::Fresh {
            directory.mark(PREPARING)?;
        }
        Ok((directory, found))
    }

    /// Called once the first files of the store are on disk.
    pub fn mark_ready(&self) -> Result<(), OpenError> {
        self.mark(FORMAT)
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

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.join(LOCK);
    let failed = |source| OpenError::Lock { path: lock_path.clone(), source };
    let mut lock = File::options().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::InUse { path: path.into(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let write = |lock: &mut File| {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    write(&mut lock).map_err(failed)?;
    Ok(lock)
}

fn inspect(path: &Path) -> Result<Found, OpenError> {
    let marker = path.join(MARKER);
    match fs::read(&marker) {
        Ok(bytes) if bytes == FORMAT.as_bytes() => Ok(Found::Ready),
        Ok(bytes) if bytes == PREPARING.as_bytes() => Ok(Found::Fresh),
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
pub(super) fn has_data(path: &Path) -> bool {
    path.join(DATA).is_file()
}

/// 0 when it cannot be told.
pub(super) fn data_bytes(path: &Path) -> u64 {
    fs::metadata(path.join(DATA)).map_or(0, |data| data.len())
}
