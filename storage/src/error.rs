//! What can go wrong with the journal, one enum per operation. Messages say what to do; sources are chained.

use std::{io, path::PathBuf, sync::Arc};

/// Why a journal could not be opened. What was in the directory is as it was, to the byte, but for `Prepare` and `WriteMarker`, and
/// `Unwritable`, after which every record and event is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot create the journal's directory {path}{}", remedy(Some(source)))]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot take the lock {path}{}", remedy(Some(source)))]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another hearth uses {path} ({})", holder(*pid))]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("{path} is no journal of hearth (it holds {found}), choose an empty or a new directory")]
    Foreign { path: PathBuf, found: String },
    #[error("there is no journal in {path}")]
    Nothing { path: PathBuf },
    #[error("{path} was written in the format {found:?}, this hearth knows {known:?}, start the version that wrote it")]
    Format { path: PathBuf, found: String, known: &'static str },
    #[error("cannot read the format marker {path}{}", remedy(Some(source)))]
    ReadMarker {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write the format marker {path}{}", remedy(Some(source)))]
    WriteMarker {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot prepare the new journal {path}{}", remedy(source.io()))]
    Prepare {
        path: PathBuf,
        #[source]
        source: StoreFault,
    },
    /// It is no damage that keeps the journal from being opened: the disk takes nothing.
    #[error("the journal {path} can't be written, nothing of it is lost{}", remedy(source.io()))]
    Unwritable {
        path: PathBuf,
        #[source]
        source: StoreFault,
    },
    #[error(
        "the journal {path} is damaged and was left as it is: hearth fsck tells what can be read, hearth fsck --repair keeps that, \
         hearth restore brings back a backup"
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: StoreFault,
    },
    #[error("cannot start the journal's thread {name}")]
    Thread {
        name: &'static str,
        #[source]
        source: io::Error,
    },
}

/// What to do about it, where that is known.
fn remedy(source: Option<&io::Error>) -> &'static str {
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull) => ": the disk is full, make room and start hearth again",
        Some(io::ErrorKind::QuotaExceeded) => ": the disk quota is used up, raise it or make room, and start hearth again",
        Some(io::ErrorKind::ReadOnlyFilesystem) => {
            ": the file system is read-only, mount it for writing (or repair it, if it became so by itself) or choose another directory"
        }
        Some(io::ErrorKind::PermissionDenied) => ": give hearth's user the right to write there, or choose another directory",
        _ => "",
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}"))
}

/// Why a batch was not acknowledged. Only after `Disk` and `Gone` may it yet be there when the journal is reopened,
/// whole; after every other it is certainly not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Retry later: the queue is full.
    #[error("the journal is busy ({waiting} batches wait), try again")]
    Busy { waiting: usize },
    #[error("{what} has {bytes} bytes, the journal takes at most {limit}")]
    TooLarge { what: String, bytes: usize, limit: usize },
    #[error("table {table:?} with key {key:?} is no valid name in the journal")]
    Name { table: String, key: String },
    #[error("only set_aside writes to the table {table}")]
    Reserved { table: String },
    #[error("there is no record {key} in {table} to set aside")]
    NoRecord { table: String, key: String },
    #[error("cannot read the record {key} of {table}, which is to be set aside or deleted")]
    Record {
        table: String,
        key: String,
        #[source]
        source: ReadError,
    },
    #[error("cannot write down why the record was set aside")]
    Encode {
        #[source]
        source: Arc<crate::envelope::EncodeError>,
    },
    /// The write that carried this batch failed.
    #[error("the journal could not write to disk and takes nothing more, make room or repair the disk and restart hearth")]
    Disk {
        #[source]
        source: Arc<StoreFault>,
    },
    /// An earlier write failed; see the module documentation of `journal`.
    #[error("the journal takes nothing since an earlier write failed, make room or repair the disk and restart hearth")]
    Poisoned {
        #[source]
        source: Arc<StoreFault>,
    },
    #[error("the journal is closed")]
    Closed,
    /// A bug: the writer ended without an answer.
    #[error("the journal's writer is gone, restart hearth")]
    Gone,
}

/// Why something could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// List again, then resume from `oldest - 1` or from `latest()`.
    #[error("these events are no longer kept, the oldest is {oldest}")]
    Expired { oldest: u64 },
    #[error("the journal's store failed while reading")]
    Store {
        #[source]
        source: Arc<StoreFault>,
    },
    /// What memory holds may not be on disk; only events near the head are still answered.
    #[error("the journal is not read since a write failed, make room or repair the disk and restart hearth")]
    Poisoned {
        #[source]
        source: Arc<StoreFault>,
    },
    #[error("the journal is closed")]
    Closed,
}

/// What the store below said, by the step that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error("the store failed to {step}")]
    Engine {
        step: &'static str,
        #[source]
        source: sled::Error,
    },
    #[error("the file system failed to {step}")]
    File {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the store panicked trying to {step}: {message}")]
    Panicked { step: &'static str, message: String },
    #[error("the store is inconsistent: {detail}")]
    Inconsistent { detail: String },
}

impl StoreFault {
    /// The system's own error behind it, if it is one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            StoreFault::Engine { source: sled::Error::Io(source), .. } | StoreFault::File { source, .. } => Some(source),
            StoreFault::Engine { .. } | StoreFault::Panicked { .. } | StoreFault::Inconsistent { .. } => None,
        }
    }

    /// The disk takes nothing, which says nothing of what lies on it.
    pub(crate) fn is_refusal(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        self.io()
            .is_some_and(|source| matches!(source.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull))
    }
}
