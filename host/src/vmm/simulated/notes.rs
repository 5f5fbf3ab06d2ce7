//! What survives a restart of hearth: one file for all simulated VMs, a line a change, the last line of a VM counts. Appended without a
//! flush: like processes, the notes outlive hearth and not the machine, so notes of another boot are void.

use super::super::storage_error;
use super::super::{MachinePlan, VmmError};
use domain::{
    VmId,
    vm::{Exit, Machine},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const NAME: &str = "simulated.notes";

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub launch: u64,
    pub start_ticks: u64,
    pub hostname: String,
    pub vcpus: u32,
    pub mem_mib: u32,
    pub mac: Option<[u8; 6]>,
    pub address: Option<(Ipv4Addr, u8)>,
    /// Of the interfaces behind the first.
    #[serde(default)]
    pub further: Vec<([u8; 6], (Ipv4Addr, u8))>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Held,
    Running,
    Paused,
    Gone(Exit),
}

/// What is known of one VM.
pub type Found = (VmId, Note, Phase);

/// A line of the file. Absent phase: the VM is forgotten.
#[derive(Serialize, Deserialize)]
struct Line {
    vm: VmId,
    note: Option<Note>,
    phase: Option<String>,
}

impl Note {
    pub fn new(plan: &MachinePlan, machine: &Machine) -> Self {
        Self {
            launch: machine.launch.0,
            start_ticks: machine.start_ticks,
            hostname: plan.hostname.clone(),
            vcpus: plan.vcpus,
            mem_mib: plan.mem_mib,
            mac: plan.nics.first().map(|nic| nic.mac),
            address: plan.nics.first().map(|nic| (nic.address, nic.prefix)),
            further: plan.nics.iter().skip(1).map(|nic| (nic.mac, (nic.address, nic.prefix))).collect(),
        }
    }

    /// MAC, address and prefix of each, in the guest's order.
    pub fn nics(&self) -> impl Iterator<Item = ([u8; 6], (Ipv4Addr, u8))> {
        self.mac.zip(self.address).into_iter().chain(self.further.iter().copied())
    }
}

impl Phase {
    fn word(&self) -> String {
        match self {
            Phase::Held => "held".into(),
            Phase::Running => "running".into(),
            Phase::Paused => "paused".into(),
            Phase::Gone(Exit::GuestShutdown) => "guest-shutdown".into(),
            Phase::Gone(Exit::GuestReboot) => "guest-reboot".into(),
            Phase::Gone(Exit::GuestPanic) => "guest-panic".into(),
            Phase::Gone(Exit::Killed { signal }) => format!("killed-{signal}"),
            Phase::Gone(Exit::OutOfMemory) => "out-of-memory".into(),
            Phase::Gone(Exit::Seccomp) => "seccomp".into(),
            Phase::Gone(Exit::Failed { .. } | Exit::Unknown) => "gone".into(),
        }
    }

    /// After a restart: what was held has ended with who held it.
    fn recovered(word: &str) -> Self {
        let exit = match word {
            "running" => return Phase::Running,
            "paused" => return Phase::Paused,
            "guest-shutdown" => Exit::GuestShutdown,
            "guest-reboot" => Exit::GuestReboot,
            "guest-panic" => Exit::GuestPanic,
            "out-of-memory" => Exit::OutOfMemory,
            "seccomp" => Exit::Seccomp,
            _ => match word.strip_prefix("killed-").and_then(|signal| signal.parse().ok()) {
                Some(signal) => Exit::Killed { signal },
                None => Exit::Unknown,
            },
        };
        Phase::Gone(exit)
    }
}

pub struct Notes {
    path: PathBuf,
    file: Mutex<File>,
}

impl Notes {
    /// Reads the file and writes it anew without what is outdated.
    pub fn open(data: &Path) -> Result<(Self, Vec<Found>), VmmError> {
        let path = data.join(NAME);
        let failed = |source| storage_error(&path, source);
        fs::create_dir_all(data).map_err(failed)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed)?;
        let found = read(&path, boot.trim()).map_err(failed)?;
        let file = write_anew(&path, boot.trim(), &found).map_err(failed)?;
        Ok((Self { path: path.clone(), file: Mutex::new(file) }, found))
    }

    pub fn write(&self, vm: VmId, note: &Note, phase: &Phase) -> Result<(), VmmError> {
        self.append(&Line { vm, note: Some(note.clone()), phase: Some(phase.word()) })
    }

    pub fn forget(&self, vm: VmId) -> Result<(), VmmError> {
        self.append(&Line { vm, note: None, phase: None })
    }

    fn append(&self, line: &Line) -> Result<(), VmmError> {
        let text = encode(line).map_err(|source| storage_error(&self.path, source))?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&text).map_err(|source| storage_error(&self.path, source))
    }
}

fn encode(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

/// Lines that are none hide nothing of the others.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(notes: &[u8]) {
    let whole = [b"boot\n", notes].concat();
    let found = parse(BufReader::new(whole.as_slice()), "boot").expect("bytes in memory can be read");
    assert!(found.len() <= notes.split(|byte| *byte == b'\n').count());
    let note = Note {
        launch: 1,
        start_ticks: 2,
        hostname: "a".into(),
        vcpus: 1,
        mem_mib: 1,
        mac: None,
        address: None,
        further: Vec::new(),
    };
    let (vm, phase) = (VmId::from_bits(u128::MAX), Phase::Running);
    let line = encode(&Line { vm, note: Some(note.clone()), phase: Some(phase.word()) }).expect("a note is JSON");
    let longer = [whole.as_slice(), b"\n", line.as_slice()].concat();
    let found = parse(BufReader::new(longer.as_slice()), "boot").expect("bytes in memory can be read");
    assert!(found.contains(&(vm, note, phase)), "a note was lost behind others");
}

/// The last line of each VM; half a line at the end, left by a crash, is passed over.
fn read(path: &Path, boot: &str) -> io::Result<Vec<Found>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    parse(BufReader::new(file), boot)
}

fn parse(notes: impl BufRead, boot: &str) -> io::Result<Vec<Found>> {
    // By bytes: a line that is no text hides none of the others.
    let mut lines = notes.split(b'\n');
    if lines.next().transpose()?.as_deref() != Some(boot.as_bytes()) {
        return Ok(Vec::new());
    }
    let mut last = HashMap::new();
    for line in lines {
        let Ok(line) = serde_json::from_slice::<Line>(&line?) else { continue };
        match (line.note, line.phase) {
            (Some(note), Some(phase)) => last.insert(line.vm, (note, Phase::recovered(&phase))),
            _ => last.remove(&line.vm),
        };
    }
    Ok(last.into_iter().map(|(vm, (note, phase))| (vm, note, phase)).collect())
}

fn write_anew(path: &Path, boot: &str, found: &[Found]) -> io::Result<File> {
    let partial = path.with_extension("partial");
    let mut out = BufWriter::new(File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial)?);
    writeln!(out, "{boot}")?;
    for (vm, note, phase) in found {
        out.write_all(&encode(&Line { vm: *vm, note: Some(note.clone()), phase: Some(phase.word()) })?)?;
    }
    out.flush()?;
    fs::rename(&partial, path)?;
    File::options().append(true).open(path)
}
