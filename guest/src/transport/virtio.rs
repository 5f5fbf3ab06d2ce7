//! A virtio-serial port. The device stays open for good; a connection is the time between the host's opening and closing of its end.
//!
//! While the host is away read() gives 0 and poll() gives HUP without end, so waiting by level would spin: hence [`Edges`].
//!
//! [`Edges`]: super::edges::Edges
use super::{Transport, half::Half};
use crate::network::uevent::Uevents;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

/// The port is there before the root is; later it won't come. The keeper tries again.
const PORT_DEADLINE: Duration = Duration::from_secs(30);
const PORTS: &str = "/sys/class/virtio-ports";

pub struct Port {
    name: String,
    open: Option<Rc<File>>,
}

impl Port {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), open: None }
    }

    fn find(&self) -> Option<PathBuf> {
        let of_that_name =
            |entry: &fs::DirEntry| fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim_end() == self.name);
        let entry = fs::read_dir(PORTS).ok()?.flatten().find(of_that_name)?;
        Some(Path::new("/dev").join(entry.file_name()))
    }

    /// Blocks, before anything else runs.
    fn open(&self) -> io::Result<File> {
        let deadline = Instant::now() + PORT_DEADLINE;
        let uevents = Uevents::open()?;
        loop {
            if let Some(path) = self.find()
                && path.exists()
            {
                return OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no virtio-serial port for the agent"));
            }
            uevents.wait(left)?;
        }
    }
}

impl Transport for Port {
    type Reader = Half;
    type Writer = Half;

    async fn accept(&mut self) -> io::Result<(Half, Half)> {
        let file = match &self.open {
            Some(file) => Rc::clone(file),
            None => Rc::clone(self.open.insert(Rc::new(self.open()?))),
        };
        let (reader, writer) = Half::pair(Rc::clone(&file))?;
        // Registered before the first look, so that an edge between is kept.
        while !host_is_there(&file)? {
            reader.changed().await?;
        }
        Ok((reader, writer))
    }
}

fn host_is_there(file: &File) -> io::Result<bool> {
    let mut ports = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut ports, PollTimeout::ZERO)?;
    Ok(!ports[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}
