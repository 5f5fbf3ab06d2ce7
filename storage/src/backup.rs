//! A backup: all records as of one batch and the events up to it, as one file that tells whether it is whole.
//!
//! ```text
//! "hearth backup 2\n"   then frames: kind (1 byte), length (u32, little-endian), content
//!   H  batch, oldest and newest event, number of records (u64 each), when (milliseconds since 1970), hearth's version (text)
//!   R  table and key (u16 length before each), value: as it lies in the journal, envelope included
//!   S  name (u16 length before it) and bytes of a secret that a record names; a caller may leave all of them out
//!   E  cursor (u64), event
//!   Z  SHA-256 of all bytes before this frame; nothing follows
//! ```
//! A file of format 1 is the same without S. Owns the format. What a backup is taken from is `Journal::export`, secrets are brought by the
//! caller; where it goes is the caller's. Disks, images and the admin's token are not in it.

use crate::{Export, Journal, READ_LIMIT, ReadError, Rescued};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read},
};

/// What a file begins with: the number is that of the format.
const MAGIC: &[u8] = b"hearth backup 2\n";
/// Without secrets, else the same.
const MAGIC_1: &[u8] = b"hearth backup 1\n";
const MAGIC_NAME: &[u8] = b"hearth backup ";
/// A piece of the stream: small enough for many to be on their way, large enough to cost nothing each.
const PIECE_BYTES: usize = 256 * 1024;
/// The largest content of a frame: a record of set-aside carries another, at most twice a value and its names.
const FRAME_MAX: u32 = 256 * 1024;
const DIGEST_BYTES: usize = 32;

/// Says of a backup what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub number: u64,
    pub oldest: u64,
    pub latest: u64,
    pub records: u64,
    pub made_at_ms: u64,
    pub version: String,
}

/// A backup that was read to its end.
pub struct Backup {
    pub about: About,
    pub content: Rescued,
    /// By the names that records have for them.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// Nobody sees a secret by accident.
impl fmt::Debug for Backup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Backup").field("about", &self.about).field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

/// Why a file is not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("this is no backup of hearth's")]
    Foreign,
    #[error("this backup is of the format {found:?}, which a newer hearth wrote; restore it with that version or a later one")]
    Newer { found: String },
    #[error("the backup ends before its end: it was cut off while it was made or copied")]
    Truncated,
    #[error("the backup is damaged: {detail}")]
    Damaged { detail: String },
    #[error("the backup can't be read")]
    Io {
        #[source]
        source: io::Error,
    },
}

/// A backup as it is made, piece by piece. Events are not pruned while it lives.
pub struct Pieces {
    journal: Journal,
    export: Export,
    about: About,
    secrets: Vec<(String, Vec<u8>)>,
    digest: Sha256,
    stage: Stage,
}

enum Stage {
    Begin,
    Records(usize),
    Secrets,
    Events(u64),
    Done,
}

impl Pieces {
    /// Blocks while the records are read.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn of(journal: &Journal, version: &str, made_at_ms: u64) -> Result<Pieces, ReadError> {
        let export = journal.export()?;
        let about = About {
            number: export.number,
            oldest: export.oldest,
            latest: export.latest,
            records: export.records.len() as u64,
            made_at_ms,
            version: version.to_owned(),
        };
        Ok(Pieces { journal: journal.clone(), export, about, secrets: Vec::new(), digest: Sha256::new(), stage: Stage::Begin })
    }

    /// The records of a table, as they go into the file: what they name beside the journal is to be of the same moment.
    pub fn records_of(&self, table: &str) -> impl Iterator<Item = &[u8]> {
        self.export.records.iter().filter(move |(of, _, _)| of == table).map(|(_, _, value)| value.as_slice())
    }

    /// Puts these into the file: names and bytes, each as short as a record's.
    pub fn with_secrets(self, secrets: Vec<(String, Vec<u8>)>) -> Pieces {
        Pieces { secrets, ..self }
    }

    fn begin(&mut self) -> Vec<u8> {
        let about = &self.about;
        let mut content = Vec::new();
        for number in [about.number, about.oldest, about.latest, about.records, about.made_at_ms] {
            content.extend_from_slice(&number.to_le_bytes());
        }
        content.extend_from_slice(about.version.as_bytes());
        let mut piece = MAGIC.to_vec();
        frame(&mut piece, b'H', &content);
        self.stage = Stage::Records(0);
        piece
    }

    fn records(&mut self, from: usize) -> Vec<u8> {
        let (mut piece, mut at) = (Vec::new(), from);
        while let Some((table, key, value)) = self.export.records.get(at).filter(|_| piece.len() < PIECE_BYTES) {
            let mut content = Vec::with_capacity(4 + table.len() + key.len() + value.len());
            for name in [table, key] {
                // Names are at most MAX_KEY_BYTES, which is far below (`batch`).
                content.extend_from_slice(&(name.len() as u16).to_le_bytes());
                content.extend_from_slice(name.as_bytes());
            }
            content.extend_from_slice(value);
            frame(&mut piece, b'R', &content);
            at += 1;
        }
        self.stage = match at < self.export.records.len() {
            true => Stage::Records(at),
            false => Stage::Secrets,
        };
        piece
    }

    /// All at once: there are few.
    fn sealed(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        for (name, bytes) in &self.secrets {
            frame(&mut piece, b'S', &[&(name.len() as u16).to_le_bytes()[..], name.as_bytes(), bytes].concat());
        }
        self.stage = Stage::Events(self.about.oldest.saturating_sub(1));
        piece
    }

    fn events(&mut self, mut after: u64) -> Result<Vec<u8>, ReadError> {
        let mut piece = Vec::new();
        let limit = usize::try_from(self.about.latest - after).unwrap_or(READ_LIMIT).min(READ_LIMIT);
        for (cursor, event) in self.journal.read(after, limit)? {
            frame(&mut piece, b'E', &[&cursor.to_le_bytes()[..], &event].concat());
            after = cursor;
        }
        self.stage = Stage::Events(after);
        Ok(piece)
    }
}

impl Iterator for Pieces {
    type Item = Result<Vec<u8>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match self.stage {
            Stage::Begin => self.begin(),
            Stage::Records(from) => self.records(from),
            Stage::Secrets => self.sealed(),
            Stage::Events(after) if after < self.about.latest => match self.events(after) {
                Ok(piece) => piece,
                Err(error) => {
                    self.stage = Stage::Done;
                    return Some(Err(error));
                }
            },
            Stage::Events(_) => {
                self.stage = Stage::Done;
                let mut piece = Vec::new();
                frame(&mut piece, b'Z', &std::mem::take(&mut self.digest).finalize());
                return Some(Ok(piece));
            }
            Stage::Done => return None,
        };
        self.digest.update(&piece);
        Some(Ok(piece))
    }
}

fn frame(piece: &mut Vec<u8>, kind: u8, content: &[u8]) {
    piece.push(kind);
    piece.extend_from_slice(&(content.len() as u32).to_le_bytes());
    piece.extend_from_slice(content);
}

/// Reads a backup to its end and gives it only when it is whole.
///
/// # Errors
/// See [`BackupError`].
pub fn read(from: impl Read) -> Result<Backup, BackupError> {
    let mut source = Source { from, digest: Sha256::new() };
    magic(&mut source)?;
    let mut about: Option<About> = None;
    let (mut content, mut secrets) = (Rescued::default(), BTreeMap::new());
    loop {
        let before = source.digest.clone();
        let (kind, bytes) = source.frame()?;
        match (kind, &about) {
            (b'H', None) => about = Some(parse_about(&bytes).ok_or_else(|| damaged("its head does not decode"))?),
            (b'R', Some(_)) => {
                let (table, key, value) = parse_record(&bytes).ok_or_else(|| damaged("a record does not decode"))?;
                content.records.insert((table, key), value);
            }
            (b'E', Some(_)) => {
                let (cursor, event) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged("an event does not decode"))?;
                content.events.insert(u64::from_le_bytes(*cursor), event.to_vec());
            }
            (b'S', Some(_)) => {
                let (name, secret) = parse_name(&bytes).ok_or_else(|| damaged("a secret does not decode"))?;
                secrets.insert(name, secret.to_vec());
            }
            (b'Z', Some(about)) => {
                if bytes != before.finalize().as_slice() || bytes.len() != DIGEST_BYTES {
                    return Err(damaged("its sum does not fit its bytes"));
                }
                source.end()?;
                let (about, content) = finish(about.clone(), content)?;
                return Ok(Backup { about, content, secrets });
            }
            _ => return Err(damaged(format!("it has something unknown ({kind:#04x})"))),
        }
    }
}

fn damaged(detail: impl Into<String>) -> BackupError {
    BackupError::Damaged { detail: detail.into() }
}

/// The sum fits, so this is a writer's bug if anything.
fn finish(about: About, mut content: Rescued) -> Result<(About, Rescued), BackupError> {
    let events =
        about.latest.checked_sub(about.oldest).map_or(0, |between| if about.latest == 0 { 0 } else { between.saturating_add(1) });
    let bounds = content.events.keys().next().copied().unwrap_or(0)..=content.events.keys().next_back().copied().unwrap_or(0);
    if content.records.len() as u64 != about.records
        || content.events.len() as u64 != events
        || bounds != (about.oldest..=about.latest)
    {
        return Err(damaged("it holds other records or events than its head says"));
    }
    content.number = about.number;
    content.bounds = (about.oldest, about.latest);
    Ok((about, content))
}

fn parse_about(bytes: &[u8]) -> Option<About> {
    let (numbers, version) = bytes.split_at_checked(40)?;
    let number = |at: usize| numbers[at * 8..][..8].try_into().ok().map(u64::from_le_bytes);
    Some(About {
        number: number(0)?,
        oldest: number(1)?,
        latest: number(2)?,
        records: number(3)?,
        made_at_ms: number(4)?,
        version: String::from_utf8(version.to_vec()).ok()?,
    })
}

fn parse_record(bytes: &[u8]) -> Option<(String, String, Vec<u8>)> {
    let (table, rest) = parse_name(bytes)?;
    let (key, value) = parse_name(rest)?;
    Some((table, key, value.to_vec()))
}

fn parse_name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((String::from_utf8(name.to_vec()).ok()?, rest))
}

struct Source<R> {
    from: R,
    digest: Sha256,
}

impl<R: Read> Source<R> {
    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.from.read_exact(buffer).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Truncated,
            _ => BackupError::Io { source },
        })?;
        self.digest.update(buffer);
        Ok(())
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let mut head = [0; 5];
        self.exact(&mut head)?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        if length > FRAME_MAX {
            return Err(damaged("a part of it claims to be larger than any is"));
        }
        let mut content = vec![0; length as usize];
        self.exact(&mut content)?;
        Ok((head[0], content))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged("something follows its end")),
            Err(source) => Err(BackupError::Io { source }),
        }
    }
}

fn magic<R: Read>(source: &mut Source<R>) -> Result<(), BackupError> {
    let mut found = vec![0; MAGIC.len()];
    source.exact(&mut found).map_err(|error| match error {
        BackupError::Truncated => BackupError::Foreign,
        other => other,
    })?;
    match found.strip_prefix(MAGIC_NAME) {
        _ if found == MAGIC || found == MAGIC_1 => Ok(()),
        Some(number) if number[0].is_ascii_digit() => {
            Err(BackupError::Newer { found: String::from_utf8_lossy(&found).trim_end().to_owned() })
        }
        _ => Err(BackupError::Foreign),
    }
}

/// What must hold for the frames of any file whose sum fits: read whole or refused, and what is read holds what its head says.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(frames: &[u8]) {
    let mut file = [MAGIC, frames].concat();
    let sum = Sha256::digest(&file);
    frame(&mut file, b'Z', &sum);
    if let Ok(backup) = read(file.as_slice()) {
        assert_eq!(backup.content.records.len() as u64, backup.about.records);
        assert!(backup.content.events.keys().all(|cursor| (backup.about.oldest..=backup.about.latest).contains(cursor)));
    }
}
