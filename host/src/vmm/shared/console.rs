//! The serial console: a bounded log that the VMM appends to, and attachments that follow it and type. Owns the log's size; the VMM owns its
//! content.
//!
//! Output is read from the log alone, woken by inotify, so that history and what follows join without a gap or a repetition, and any
//! number may read. A VMM serves one writer: the attachments share one connection for what they type.

mod kept;
mod lines;
mod stamp;
mod times;

use super::super::{VmmError, lines::LinesWanted};
use super::layout::{self, CONSOLE_LOG};
use super::process;
use super::run::lock;
use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use stamp::Stamp;
use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use times::Times;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, unix::AsyncFd},
    net::{UnixStream, unix::pipe},
    task::AbortHandle,
};

/// The log is cut to [`KEPT_BYTES`] when it is longer than this: days of a quiet guest, minutes of a talkative one.
pub const MOST_LOG_BYTES: u64 = 4 << 20;
pub const KEPT_BYTES: u64 = MOST_LOG_BYTES / 2;
/// Holds some 5,000 events; only the last two or three are ever read.
const MOST_EVENT_BYTES: u64 = 1 << 20;
const CHUNK: usize = 16 * 1024;
/// What waits for an attachment that does not read; the log holds the rest.
const PIPE: usize = 64 * 1024;

/// How a VMM takes what is typed: the name of a file in the VM's folder.
#[derive(Debug, Clone, Copy)]
pub enum Keyboard {
    /// A Unix socket on which it also writes what it shows.
    Socket(&'static str),
    /// A named pipe.
    Pipe(&'static str),
}

/// What differs between VMMs.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub keyboard: Keyboard,
    /// Another log in the VM's folder that the VMM appends to; cut like the console's. One that is not appended to can't be cut: its writer
    /// would go on where it was, behind a hole.
    pub other_log: Option<&'static str>,
    /// What else in the VM's folder is kept short, as often as the logs are looked at. Blocks.
    pub beside: Option<fn(&Path)>,
}

#[derive(Debug)]
pub struct ConsoleLog {
    folder: PathBuf,
    manner: Manner,
    /// How many bytes were cut from the log's beginning, while this driver lives. Held during each read and cut.
    cut: Mutex<u64>,
    /// When its parts were first seen; absent until the first look. Taken after `cut`.
    times: Mutex<Option<Times>>,
    input: Mutex<Weak<Input>>,
}

/// The connection that keystrokes go through. On a socket the VMM writes output too, which must be read lest the guest's serial port stalls.
struct Input {
    writer: tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
    drain: Option<AbortHandle>,
    /// A write failed: its reader is gone.
    broken: AtomicBool,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Input").field("over", &self.is_over()).finish_non_exhaustive()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(drain) = &self.drain {
            drain.abort();
        }
    }
}

impl Input {
    fn open(log: &ConsoleLog) -> io::Result<Self> {
        let (writer, drain): (Box<dyn AsyncWrite + Send + Unpin>, _) = match log.manner.keyboard {
            Keyboard::Socket(name) => {
                let (mut reader, writer) = UnixStream::from_std(layout::connect(&log.folder, name)?)?.into_split();
                let drain = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
                (Box::new(writer), Some(drain.abort_handle()))
            }
            // Without a VMM at its other end this fails.
            Keyboard::Pipe(name) => (Box::new(pipe::OpenOptions::new().open_sender(log.folder.join(name))?), None),
        };
        Ok(Self { writer: tokio::sync::Mutex::new(writer), drain, broken: AtomicBool::new(false) })
    }

    fn is_over(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.drain.as_ref().is_some_and(AbortHandle::is_finished)
    }

    /// Whether it was taken.
    async fn send(&self, typed: &[u8]) -> bool {
        let sent = self.writer.lock().await.write_all(typed).await.is_ok();
        if !sent {
            self.broken.store(true, Ordering::Relaxed);
        }
        sent
    }
}

impl ConsoleLog {
    pub fn new(folder: PathBuf, manner: Manner) -> Arc<Self> {
        Arc::new(Self { folder, manner, cut: Mutex::new(0), times: Mutex::default(), input: Mutex::new(Weak::new()) })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(CONSOLE_LOG)
    }

    /// The last `bytes` of the log; empty when there is none.
    pub fn tail(&self, bytes: u64) -> io::Result<Vec<u8>> {
        let cut = lock(&self.cut);
        let file = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let len = file.metadata()?.len();
        let wanted = len.min(bytes).min(MOST_LOG_BYTES);
        let mut content = vec![0; wanted as usize];
        let read = file.read_at(&mut content, len - wanted)?;
        content.truncate(read);
        drop(cut);
        Ok(content)
    }

    /// Cuts the logs where they have grown too long, and what else is kept short, whether or not the other can be.
    pub fn trim(&self) -> io::Result<()> {
        let trimmed = self.trim_logs();
        if let Some(keep_short) = self.manner.beside {
            keep_short(&self.folder);
        }
        trimmed
    }

    fn trim_logs(&self) -> io::Result<()> {
        let mut cut = lock(&self.cut);
        if let Ok(file) = File::options().read(true).append(true).open(self.path()) {
            if file.metadata()?.len() > MOST_LOG_BYTES {
                self.seen(*cut, |times| kept::forget(&self.folder, times));
            }
            let surplus = cut_front(&file, MOST_LOG_BYTES, KEPT_BYTES)?;
            if surplus > 0 {
                *cut += surplus;
                if let Some(times) = lock(&self.times).as_mut() {
                    times.cut(*cut);
                    kept::write(&self.folder, times, *cut);
                }
            }
        }
        if let Some(name) = self.manner.other_log
            && let Ok(file) = File::options().read(true).append(true).open(self.folder.join(name))
        {
            cut_front(&file, MOST_EVENT_BYTES, MOST_EVENT_BYTES / 2)?;
        }
        Ok(())
    }

    /// History first, then what follows, and keystrokes the other way, until the returned end is dropped or shut down, or the VM removed.
    pub fn attach(self: &Arc<Self>, wanted: &LinesWanted) -> Result<DuplexStream, VmmError> {
        let path = self.path();
        let failed = |source| VmmError::Folder { path: path.clone(), source };
        let file = File::options().create(true).append(true).read(true).mode(0o600).open(&path).map_err(failed)?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(|error| failed(error.into()))?;
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB;
        inotify.add_watch(&path, events).map_err(|error| failed(error.into()))?;
        let changes = process::watched(inotify.into())?;
        let start = self.start(&file, wanted).map_err(failed)?;
        let stamp = wanted.with_times.then(Stamp::new);
        let (theirs, ours) = tokio::io::duplex(PIPE);
        tokio::spawn(attend(Arc::clone(self), file, changes, (start, stamp), ours));
        Ok(theirs)
    }

    /// What is at that point of the log; moves the point on. Points count from before all cuts.
    fn read(&self, file: &File, at: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
        let cut = lock(&self.cut);
        *at = (*at).max(*cut);
        let read = file.read_at(buffer, *at - *cut)?;
        *at += read as u64;
        Ok(read)
    }

    fn input(&self) -> io::Result<Arc<Input>> {
        let mut shared = lock(&self.input);
        if let Some(input) = shared.upgrade().filter(|input| !input.is_over()) {
            return Ok(input);
        }
        let input = Arc::new(Input::open(self)?);
        *shared = Arc::downgrade(&input);
        Ok(input)
    }
}

/// One reader of a log that is also cut, without its task: see `fuzz`.
#[cfg(any(test, fuzzing))]
pub struct Fuzzed {
    log: Arc<ConsoleLog>,
    at: u64,
}

#[cfg(any(test, fuzzing))]
impl Fuzzed {
    pub fn new(path: &std::path::Path) -> Self {
        let manner = Manner { keyboard: Keyboard::Pipe("keyboard"), other_log: Some("other.log"), beside: None };
        Self { log: ConsoleLog::new(path.parent().map(PathBuf::from).unwrap_or_default(), manner), at: 0 }
    }

    pub fn cut(&self, file: &File, most: u64, keep: u64) {
        let mut cut = lock(&self.log.cut);
        *cut += cut_front(file, most.max(1), keep).expect("a temporary file can be cut");
    }

    pub fn cut_so_far(&self) -> u64 {
        *lock(&self.log.cut)
    }

    /// Where the reader was, and what it found there.
    pub fn read(&mut self, file: &File, most: usize) -> (usize, Vec<u8>) {
        let mut buffer = vec![0; most];
        let read = self.log.read(file, &mut self.at, &mut buffer).expect("a temporary file can be read");
        buffer.truncate(read);
        (self.at as usize - read, buffer)
    }

    /// Reads until nothing follows; also looks at the log's last bytes as `logs` does.
    pub fn at_end(&mut self, file: &File) -> usize {
        while !self.read(file, CHUNK).1.is_empty() {}
        let (tail, all) = (self.log.tail(100), self.log.tail(u64::MAX));
        let (tail, all) = (tail.expect("it can be read"), all.expect("it can be read"));
        assert!(tail.len() <= 100 && all.ends_with(&tail) && tail.len() == all.len().min(100));
        self.at as usize
    }
}

/// Cuts whole blocks from the front, in place, and says how many bytes. A writer in append mode goes on undisturbed.
fn cut_front(file: &File, most: u64, keep: u64) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.len() <= most {
        return Ok(0);
    }
    let block = metadata.blksize().max(1);
    let surplus = (metadata.len() - keep) / block * block;
    if fallocate(file.as_fd(), FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, surplus as i64).is_ok() {
        return Ok(surplus);
    }
    // Not every file system can do that. What is written between these three calls is lost, and no more.
    let mut kept = vec![0; (metadata.len() - surplus) as usize];
    file.read_exact_at(&mut kept, surplus)?;
    file.set_len(0)?;
    (&*file).write_all(&kept)?;
    Ok(surplus)
}

async fn attend(log: Arc<ConsoleLog>, file: File, changes: AsyncFd<OwnedFd>, from: (u64, Option<Stamp>), ours: DuplexStream) {
    let (mut typed, mut shown) = tokio::io::split(ours);
    let output = async {
        let ((mut at, mut stamp), mut buffer, mut told, mut out) = (from, vec![0; CHUNK], [0; 4096], Vec::new());
        loop {
            loop {
                match log.read(&file, &mut at, &mut buffer)? {
                    0 => break,
                    read => {
                        let bytes = log.stamped(&mut stamp, at - read as u64, &buffer[..read], &mut out);
                        shown.write_all(bytes).await?;
                    }
                }
            }
            if file.metadata()?.nlink() == 0 {
                return io::Result::Ok(());
            }
            // What changed since the watch was set, before the first read, is still told: nothing is missed.
            changes.readable().await?.clear_ready();
            // What is read is not looked at; a queue longer than this makes it readable again at the next change.
            let _what_changed = nix::unistd::read(changes.get_ref(), &mut told);
        }
    };
    let input = async {
        let (mut buffer, mut connection) = (vec![0; CHUNK], None);
        loop {
            let read = typed.read(&mut buffer).await?;
            if read == 0 {
                return io::Result::Ok(());
            }
            // The VM may have been started anew since; a VM that does not run takes no input, and the attachment stays.
            if connection.as_ref().is_none_or(|input: &Arc<Input>| input.is_over()) {
                connection = log.input().ok();
            }
            // A pipe shows only to who writes that its reader is another by now: then once more, to the new one.
            if let Some(input) = &connection
                && !input.send(&buffer[..read]).await
            {
                connection = log.input().ok();
                if let Some(input) = &connection {
                    let _gone = input.send(&buffer[..read]).await;
                }
            }
        }
    };
    tokio::select! {
        result = output => tracing::trace!(?result, "a console's output ended"),
        result = input => tracing::trace!(?result, "a console was left"),
    }
}

#[cfg(test)]
mod tests;
