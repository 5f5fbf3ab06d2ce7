//! The file that a Firecracker writes its metrics to, read to its end and kept short. A line says what was counted since the line before, so that
//! a sum is kept beside the file: as far as it goes, what was read is given back to the file system, at its place, for Firecracker writes where
//! it was and not to the end. A hearth that is started anew goes on from the sum and loses nothing.
//!
//! The process may write whatever it wants: lines are bounded, and of a file that grew by more than hearth reads at once the sum begins anew,
//! which [`Counted::since_ms`] tells.

use super::super::VmmError;
use super::super::shared::{layout::storage_error, run::lock};
use super::files::{METRICS, TALLY};
use super::tally::Tally;
use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
    sync::{Mutex, TryLockError},
    time::{SystemTime, UNIX_EPOCH},
};

/// A line has about 10 KiB; what is longer is none.
const CHUNK: usize = 64 * 1024;
/// What is read and not in the kept sum yet: some ten lines are read again at each look.
const KEEP_AFTER: u64 = 64 * 1024;
/// What nobody read yet is read, a tenth of a second's work; it comes together in a day without hearth, at a line a minute.
const MOST_BEHIND: u64 = 16 << 20;
/// What may lie on the disk before it is read for its shortness alone, in blocks of 512 bytes.
const MOST_BLOCKS: u64 = 1024 * 2;

/// A VM's file is read by one at a time; the work is short, so that one turn for all is enough.
static TURN: Mutex<()> = Mutex::new(());

/// What a process counted, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Milliseconds since the epoch.
    pub since_ms: u64,
    /// How much of the file is in the sum.
    offset: u64,
    pub tally: Tally,
}

impl Counted {
    fn from(offset: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        Self { since_ms: now, offset, tally: Tally::default() }
    }

    fn keep(&self, folder: &Path) -> io::Result<()> {
        let partial = folder.join(TALLY).with_extension("partial");
        fs::write(&partial, serde_json::to_vec(self)?)?;
        fs::rename(partial, folder.join(TALLY))
    }
}

/// An empty file for a process that is made now. Blocks.
pub fn begin(folder: &Path) -> Result<(), VmmError> {
    let path = folder.join(METRICS);
    let made = || {
        super::super::shared::layout::remove_file(&path)?;
        File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Counted::from(0).keep(folder)
    };
    made().map_err(|source| storage_error(&path, source))
}

/// All that was counted so far. `None`: the process was started by a hearth that asked it for none. Blocks.
pub fn read(folder: &Path) -> io::Result<Option<Counted>> {
    let _turn = lock(&TURN);
    read_in_turn(folder)
}

fn read_in_turn(folder: &Path) -> io::Result<Option<Counted>> {
    let file = match File::options().read(true).write(true).open(folder.join(METRICS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let len = file.metadata()?.len();
    let kept = fs::read(folder.join(TALLY)).ok().and_then(|text| serde_json::from_slice::<Counted>(&text).ok());
    let mut counted = match kept {
        Some(kept) if kept.offset <= len && len - kept.offset <= MOST_BEHIND => kept,
        // What lies there is lost: the sum, or the file, is not what hearth left.
        _ => {
            let anew = Counted::from(len.saturating_sub(CHUNK as u64));
            if let Err(error) = anew.keep(folder) {
                tracing::debug!(%error, folder = %folder.display(), "a sum of metrics that begins anew can't be kept");
            }
            anew
        }
    };
    let kept = counted.offset;
    catch_up(&file, &mut counted)?;
    // What can't be kept, on a full disk, is read again at the next look, and is there to be read.
    if counted.offset - kept >= KEEP_AFTER && counted.keep(folder).is_ok() {
        // Only room would be lost, until it can be done.
        let _given_back = give_back(&file, counted.offset);
    }
    Ok(Some(counted))
}

/// Gives back what has come together while nobody looked. While others are read it leaves it to its next turn. Blocks.
pub fn keep_short(folder: &Path) {
    if fs::metadata(folder.join(METRICS)).is_ok_and(|metadata| metadata.blocks() > MOST_BLOCKS) {
        let _turn = match TURN.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let read = read_in_turn(folder).map(drop);
        tracing::trace!(folder = %folder.display(), ?read, "a file of metrics was long");
    }
}

/// Whole lines, up to the last.
fn catch_up(file: &File, counted: &mut Counted) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    // As much as there is room for in what was found, and a process that writes on and on does not hold hearth.
    for _ in 0..=MOST_BEHIND / KEEP_AFTER {
        let read = file.read_at(&mut buffer, counted.offset)?;
        let chunk = buffer.get(..read).unwrap_or_default();
        match chunk.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => {
                chunk.get(..end).unwrap_or_default().split(|&byte| byte == b'\n').for_each(|line| counted.tally.add(line));
                counted.offset += end as u64 + 1;
            }
            // Longer than a line.
            None if read == CHUNK => counted.offset += CHUNK as u64,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// The blocks before that point.
fn give_back(file: &File, offset: u64) -> io::Result<()> {
    let block = file.metadata()?.blksize().max(1);
    let whole = i64::try_from(offset / block * block).unwrap_or(0);
    if whole > 0 {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(file.as_fd(), flags, 0, whole)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
