//! The log by lines: with when each was first seen, or since a moment.

use super::super::super::lines::LinesWanted;
use super::super::run::lock;
use super::{CHUNK, ConsoleLog, MOST_LOG_BYTES, kept, stamp::Stamp, times::Times};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    time::{SystemTime, UNIX_EPOCH},
};

/// With their times lines are longer, and empty ones many times; more than these are not in one answer.
pub(super) const MOST_LINES: usize = 100_000;

impl ConsoleLog {
    /// As [`Self::tail`], from the beginning of a line on.
    pub fn lines(&self, wanted: &LinesWanted) -> io::Result<Vec<u8>> {
        // Held until the bytes are read.
        let cut = lock(&self.cut);
        let file = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        // What comes after this was not looked at, and is the next answer's.
        let end = *cut + file.metadata()?.len();
        self.seen(*cut, move |times| {
            // What is told now is told alike by the next hearth.
            kept::keep(&self.folder, times, *cut);
            let bytes = wanted.bytes.min(MOST_LOG_BYTES);
            let start = begin(&file, *cut, end, &LinesWanted { bytes, ..*wanted }, times)?;
            let mut content = vec![0; end.saturating_sub(start) as usize];
            let read = file.read_at(&mut content, start - *cut)?;
            content.truncate(read);
            drop(cut);
            if !wanted.with_times {
                return Ok(content);
            }
            let skipped = lines_before(&content, MOST_LINES);
            let (mut stamp, mut out) = (Stamp::new(), Vec::with_capacity(content.len() * 2));
            stamp.write(times, start + skipped as u64, content.get(skipped..).unwrap_or_default(), &mut out);
            Ok(out)
        })
    }

    /// How long the log is; what is longer than at the last look is to be looked at.
    pub fn length(&self) -> Option<u64> {
        fs::metadata(self.path()).ok().map(|metadata| metadata.len())
    }

    /// A look that found it as long as it was. Who looks more closely at the same time does not need it.
    pub fn nothing_new(&self) {
        if let Ok(mut times) = self.times.try_lock()
            && let Some(times) = times.as_mut()
        {
            times.nothing_new(ms(SystemTime::now()).unwrap_or(0));
        }
    }

    /// What is there by now was seen by now, and all that was is kept for the next hearth. Blocks.
    pub fn look(&self) {
        let cut = lock(&self.cut);
        self.seen(*cut, |times| kept::keep(&self.folder, times, *cut));
    }

    /// Looks, and then at the times.
    pub(super) fn seen<T>(&self, cut: u64, then: impl FnOnce(&mut Times) -> T) -> T {
        self.seen_at(ms(SystemTime::now()).unwrap_or(0), cut, then)
    }

    /// As [`Self::seen`], at that moment.
    pub(super) fn seen_at<T>(&self, now_ms: u64, cut: u64, then: impl FnOnce(&mut Times) -> T) -> T {
        let mut times = lock(&self.times);
        let times = times.get_or_insert_with(|| kept::read(&self.folder, cut));
        if let Ok(log) = fs::metadata(self.path()) {
            let began_ms = log.created().ok().and_then(ms);
            times.look(cut + log.len(), now_ms, began_ms);
        }
        then(times)
    }

    /// Where what is wanted begins in the log as it is now.
    pub(super) fn start(&self, file: &File, wanted: &LinesWanted) -> io::Result<u64> {
        let cut = lock(&self.cut);
        let end = *cut + file.metadata()?.len();
        if wanted.are_lines() {
            self.seen(*cut, |times| begin(file, *cut, end, wanted, times))
        } else {
            Ok(end.saturating_sub(wanted.bytes).max(*cut))
        }
    }

    /// These bytes of that point, with their times if they are wanted.
    pub(super) fn stamped<'a>(&self, stamp: &mut Option<Stamp>, at: u64, bytes: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(stamp) = stamp else { return bytes };
        out.clear();
        let cut = lock(&self.cut);
        self.seen(*cut, |times| stamp.write(times, at, bytes, out));
        out
    }
}

/// Where what is wanted begins, of a log from `cut` to `end`.
fn begin(file: &File, cut: u64, end: u64, wanted: &LinesWanted, times: &Times) -> io::Result<u64> {
    let mut start = end.saturating_sub(wanted.bytes).max(cut);
    if let Some(since_ms) = wanted.since_ms {
        start = start.max(times.since(since_ms).min(end));
    }
    if !wanted.are_lines() || start == cut || start == end {
        return Ok(start);
    }
    // One that is longer than this is begun in its middle.
    let mut before = vec![0; CHUNK];
    let read = file.read_at(&mut before, start - 1 - cut)?;
    let line = before.get(..read).and_then(|before| before.iter().position(|&byte| byte == b'\n'));
    Ok(line.map_or(start, |at| start + at as u64))
}

/// How many bytes stand before the last lines.
fn lines_before(content: &[u8], lines: usize) -> usize {
    let body = content.strip_suffix(b"\n").unwrap_or(content);
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    breaks.map(|(at, _)| at + 1).nth(lines.saturating_sub(1)).unwrap_or(0)
}

pub(super) fn ms(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64)
}
