//! The stand-in as a process, and what a machine needs of files. Skips aloud where the document is absent.

use fake_firecracker::document::Document;
use host::vmm::firecracker::api::{
    Fresh, Microvm, Socket,
    model::{Backend, DeviceId, MemoryBackend, NetworkOverride, SnapshotLoad, VsockOverride},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Ends with the test, with its files.
pub struct Process {
    child: Child,
    /// The real one, if it is that.
    program: Option<PathBuf>,
    folder: TempDir,
}

#[derive(Clone, Copy)]
enum Program<'a> {
    Fake(Option<&'a str>),
    Real(&'a Path),
}

impl Program<'_> {
    fn again(self) -> Option<PathBuf> {
        match self {
            Program::Fake(_) => None,
            Program::Real(firecracker) => Some(firecracker.to_owned()),
        }
    }

    /// Returns once it listens.
    fn start(self, folder: &TempDir, socket: &str) -> Child {
        let path = folder.path().join(socket);
        match self {
            Program::Fake(fault) => fake(&path, fault),
            Program::Real(firecracker) => {
                let output = fs::File::create(path.with_extension("output")).unwrap();
                let mut command = Command::new(firecracker);
                command.arg("--api-sock").arg(&path).args(["--id", "vm-1"]).stdin(Stdio::null()).stdout(output);
                let child = command.spawn().unwrap();
                until("Firecracker's socket", || UnixStream::connect(&path).is_ok());
                child
            }
        }
    }
}

/// Waits for what another process does.
fn until(what: &str, done: impl Fn() -> bool) {
    let from = Instant::now();
    while !done() {
        assert!(from.elapsed() < Duration::from_secs(30), "no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Program and kernel, or why there is none.
fn real_program() -> Result<(PathBuf, PathBuf), String> {
    let firecracker = std::env::var_os("HEARTH_FIRECRACKER").map(PathBuf::from).or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("firecracker")).find(|program| program.is_file())
    });
    let firecracker = firecracker.ok_or("no Firecracker here (HEARTH_FIRECRACKER, or PATH)")?;
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Err(format!("/dev/kvm can't be used: {error}"));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("TAP devices need root".into());
    }
    let images = std::env::var_os("HEARTH_IMAGES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/images"), PathBuf::from);
    let list = fs::read(images.join("images.json")).map_err(|_| "no images (make setup)".to_owned())?;
    let list: serde_json::Value = serde_json::from_slice(&list).map_err(|error| error.to_string())?;
    let kernel = list.as_array().into_iter().flatten().find(|image| image["kind"] == "kernel" && image["default"] == true);
    let kernel = kernel.and_then(|kernel| kernel["path"].as_str()).ok_or("no default kernel (make setup)")?;
    Ok((firecracker, images.join(kernel)))
}

impl Process {
    /// `None`: the document is absent, and the log of skipped tests says so.
    pub fn start(test: &str, fault: Option<&str>) -> Option<Self> {
        if let Err(why) = Document::find() {
            skipped(test, &why);
            return None;
        }
        Some(Self::of(Program::Fake(fault)))
    }

    /// The real Firecracker, where there is one and what it needs. `kernel`: what the machine boots.
    pub fn real(test: &str) -> Option<Self> {
        match real_program() {
            Ok((firecracker, kernel)) => {
                let process = Self::of(Program::Real(&firecracker));
                fs::copy(&kernel, process.path("kernel")).unwrap();
                Some(process)
            }
            Err(why) => {
                skipped(test, &why);
                None
            }
        }
    }

    fn of(program: Program<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("kernel", 64), ("root", 4096), ("data", 4096), ("other", 8192), ("log", 0), ("metrics", 0)] {
            fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        Self { child: program.start(&folder, "api"), program: program.again(), folder }
    }

    /// Another process beside it, in the same folder, as one that loads a snapshot is.
    pub fn another(&self, socket: &str) -> (Ending, Microvm<Fresh>) {
        let program = match &self.program {
            None => Program::Fake(None),
            Some(firecracker) => Program::Real(firecracker),
        };
        (Ending(program.start(&self.folder, socket)), Microvm::fresh(Socket::new(self.path(socket))))
    }

    pub fn socket(&self) -> Socket {
        Socket::new(self.path("api"))
    }

    pub fn fresh(&self) -> Microvm<Fresh> {
        Microvm::fresh(self.socket())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// To load what was taken into `state-0` and `memory-0`, with another TAP device and another vsock.
    pub fn first_snapshot(&self, tap: &str, vsock: &str) -> SnapshotLoad {
        SnapshotLoad {
            snapshot_path: self.path("state-0"),
            mem_backend: MemoryBackend { backend_type: Backend::File, backend_path: self.path("memory-0") },
            track_dirty_pages: true,
            network_overrides: vec![NetworkOverride { iface_id: id("eth0"), host_dev_name: tap.into() }],
            vsock_override: Some(VsockOverride { uds_path: self.path(vsock) }),
            clock_realtime: true,
        }
    }

    pub fn ended(&mut self) -> bool {
        self.child.wait().is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Ending(pub Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It says when it listens.
fn fake(socket: &Path, fault: Option<&str>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-firecracker"));
    command.arg("--api-sock").arg(socket).args(["--id", "vm_1"]).stdout(Stdio::piped());
    if let Some(fault) = fault {
        command.args(["--fault", fault]);
    }
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "listening", "the stand-in did not start");
    child
}

/// libtest counts a test that returns early as passed: `make test` reads this log.
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        log.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

pub fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}
