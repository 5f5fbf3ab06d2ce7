//! The two halves of a start: making the held process, and letting it run. On an error of the first nothing is left.

use super::super::{
    MachinePlan, VmmError,
    limits::{FIRECRACKER_MIB, Needs, transfers},
    shared::{
        blocking, boot, dashed_mark, drives,
        gate::Program,
        hold::{self, Held, Launch},
        layout::{self, CONSOLE_LOG, storage_error},
        run::Run,
        seed,
    },
};
use super::api::{ApiError, Configuring, Found, Microvm, Paused, Socket};
use super::config::{self, Config, Port};
use super::door::{Arrivals, Door};
use super::files::{API_SOCKET, CONFIG, DISK, ERRORS, KEYBOARD, VMM_LOG};
use super::marks::Marks;
use super::restore::{self, Origin, Source};
use super::room::{self, Room};
use super::tap::{add_network_interfaces, bring_home, lend_all, with_taps};
use super::{Inner, asking::call_error, counters, disk, ending, metadata};
use crate::doctor::kvm_remedy;
use domain::{Attempt, vm::Driver};
use nix::{errno::Errno, sys::stat::Mode, unistd::mkfifo};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::Path,
    time::Duration,
};
use tokio::time::Instant;

/// From a connection that a process ends to its own end, if that is why: it gives back the guest's memory first.
const FALLING: Duration = Duration::from_secs(5);
/// From exec to the API's socket: 33 to 100 ms were seen under emulation, and the jailer copies a program of 3 MB first.
const API_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the process and holds it. Blocks.
pub fn hold(
    inner: &Inner,
    plan: &MachinePlan,
    ports: Vec<Port>,
    from: Option<&Source>,
    attempt: Attempt,
) -> Result<Held, VmmError> {
    let launch = Launch {
        vm: plan.vm,
        attempt,
        driver: Driver::Firecracker,
        executable: &inner.binary,
        version: &inner.version.text,
        needs: needs(plan, &inner.ground.layout.vms()),
    };
    let unmake = |_: &Path| {
        // The first error is the one to tell; `clean` removes what this can't.
        let _left = inner.unmake_room(plan.vm);
    };
    hold::hold(&inner.ground, &launch, |folder| program(inner, plan, ports, from, folder), unmake)
}

/// `disks`: the folder in which they are.
fn needs(plan: &MachinePlan, disks: &Path) -> Needs {
    let io = transfers::bound(&plan.tuning.rate_limits, 1 + plan.disk.drives.all().len(), disks);
    Needs { vcpus: plan.vcpus, mem_mib: plan.mem_mib, overhead_mib: FIRECRACKER_MIB, io }
}

fn program(
    inner: &Inner,
    plan: &MachinePlan,
    ports: Vec<Port>,
    from: Option<&Source>,
    folder: &Path,
) -> Result<Program, VmmError> {
    let failed = |source| storage_error(folder, source);
    hold::still_there(&inner.binary, "firecracker", "install it again")?;
    // All that can be refused is, before anything of the VM is touched. One that goes on from a snapshot has the devices of that.
    if from.is_none() {
        config::check(plan, &inner.version)?;
    }
    let metadata = metadata::metadata(plan)?;
    let (kernel, initrd) = (boot::kernel(plan)?, inner.boot.initrd(plan.initrd.as_deref())?);
    for log in [VMM_LOG, ERRORS] {
        layout::remove_file(&folder.join(log)).map_err(failed)?;
    }
    hold::log(folder, VMM_LOG).map_err(failed)?;
    counters::begin(folder)?;
    let jail = inner.jails.as_ref().map(|jails| jails.jail(plan.vm)).transpose()?;
    if let Some(source) = from {
        seed::put_back(source.seed().as_deref(), folder)?;
        restore::stage(source, folder)?;
    } else {
        seed::write(plan, folder)?;
        disk::grow(&plan.disk, &folder.join(DISK))?;
        drives::settle(&plan.disk, folder)?;
    }
    let has_seed = from.map_or(plan.cloud_init.is_some(), |source| source.has_seed);
    let has_metadata = from.is_none_or(|source| source.has_metadata);
    let from = from.map(|source| source.folder.as_path());
    let files = room::Files { folder, kernel: &kernel, initrd: &initrd, has_seed, drives: &plan.disk.drives, from };
    let room = match &jail {
        Some(jail) => room::jailed(jail, &files)?,
        None => room::open(&inner.binary, &dashed_mark(&inner.ground.owner, plan.vm), &files)?,
    };
    if let Some(jail) = &jail {
        for nic in &plan.nics {
            let failed = |error| VmmError::Network { detail: format!("{}: {error}", nic.tap) };
            crate::net::give_tap(&nic.tap, jail.uid()).map_err(failed)?;
        }
    }
    let Room { works_in, paths, arguments, program } = room;
    let mut config = config::config(plan, paths, &inner.version).map_err(config::refused)?;
    // One without a jail opens its TAPs where they are.
    config.place(if jail.is_some() { ports } else { Vec::new() });
    config.metadata = metadata.filter(|_| has_metadata);
    config.origin = from.map(|_| Origin::in_jail());
    write_config(folder, &config)?;
    let mut console = hold::log(folder, CONSOLE_LOG).map_err(failed)?;
    console.write_all(ending::launch_line().as_bytes()).map_err(failed)?;
    Ok(Program {
        executable: hold::word(program.as_os_str().as_bytes())?,
        arguments: arguments.iter().map(hold::word).collect::<Result<_, _>>()?,
        environment: hold::environment(),
        folder: layout::open_folder(&works_in).map_err(failed)?,
        standard: [keyboard(folder).map_err(failed)?, console.into(), hold::log(folder, ERRORS).map_err(failed)?.into()],
        apart: jail.is_some(),
        inherited: Vec::new(),
    })
}

/// The pipe that Firecracker reads what is typed from. Open for both, so that it never sees an end of it, whoever comes and goes.
fn keyboard(folder: &Path) -> io::Result<OwnedFd> {
    let path = folder.join(KEYBOARD);
    match mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(File::options().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?.into())
}

fn write_config(folder: &Path, config: &Config) -> Result<(), VmmError> {
    let path = folder.join(CONFIG);
    let text = serde_json::to_vec_pretty(config).map_err(|error| VmmError::Spawn { detail: error.to_string() })?;
    // Metadata are in it, in which a user may have put what is nobody else's to read. What an earlier hearth left may be open to more.
    let write = || {
        layout::remove_file(&path)?;
        File::options().write(true).create_new(true).mode(0o600).open(&path)?.write_all(&text)
    };
    write().map_err(|source| storage_error(&path, source))
}

pub fn read_config(folder: &Path) -> Result<Config, VmmError> {
    let path = folder.join(CONFIG);
    let bytes = fs::read(&path).map_err(|source| storage_error(&path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| VmmError::Spawn { detail: format!("{}: {error}", path.display()) })
}

/// Lets the process run until its vCPUs do. May be repeated.
pub async fn release(inner: &Inner, run: &Run, vm: domain::VmId, marks: &mut Marks) -> Result<(), VmmError> {
    let (folder, room) = (inner.ground.folder(vm), inner.room(vm));
    let room = room.as_path();
    let result = async {
        let arrivals = Arrivals::of(room);
        let early = match run.take_gate() {
            Some(gate) => {
                gate.release().await?;
                marks.end("exec");
                Some(read_config(&folder)?)
            }
            // Who finds it released does not know yet whether a guest runs, whose network this would be.
            None => None,
        };
        // A move takes the kernel about 20 ms (measured), and one follows the other, while the process is on its way to its API (33 to 100 ms). One
        // that fails is made again, and told, below.
        let (door, _early) = tokio::join!(api_door(room, &arrivals, run), async {
            match &early {
                Some(config) => lend_all(config, run).await,
                None => Ok(()),
            }
        });
        let door = door?;
        marks.end("socket");
        match Found::at(Socket::new(door.path())).await.map_err(call_error)? {
            Found::Running(_) => Ok(()),
            Found::Paused(paused) => resume(paused, &folder, run).await,
            Found::NotStarted(machine) => {
                let config = early.map_or_else(|| read_config(&folder), Ok)?;
                match &config.origin {
                    Some(origin) => {
                        let loaded = origin.load(Socket::new(door.path()), config.machine.track_dirty_pages);
                        go_on(with_taps(&config, run, loaded).await?, &config, &folder).await
                    }
                    None => configure_and_start(machine, &config, run, marks).await,
                }
            }
        }
    };
    match result.await {
        Ok(()) => Ok(()),
        Err(VmmError::Gone) => {
            // Its last words are complete once it has ended.
            if tokio::time::timeout(FALLING, run.exited()).await.is_ok() {
                return Err(VmmError::EndedAtStart { detail: ending::last_words(&folder) });
            }
            run.kill().await?;
            Err(VmmError::Refused { call: "the start", detail: "it ended the connection before it had answered".into() })
        }
        // Said again, it would be refused again: unlike QEMU, Firecracker does not end by itself on what it can't do.
        Err(error @ (VmmError::Refused { .. } | VmmError::Network { .. } | VmmError::Spawn { .. })) => {
            run.kill().await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

async fn configure_and_start(
    machine: Microvm<Configuring>,
    config: &Config,
    run: &Run,
    marks: &mut Marks,
) -> Result<(), VmmError> {
    // What an earlier try, that was cut off, has said already is said again: Firecracker replaces it, and removes its old vsock socket itself.
    let said = async {
        machine.set_machine(&config.machine).await?;
        machine.set_boot_source(&config.boot).await?;
        machine.add_drive(&config.root).await?;
        for drive in config.seed.iter().chain(&config.drives) {
            machine.add_drive(drive).await?;
        }
        machine.set_vsock(&config.vsock).await?;
        machine.set_entropy(None).await?;
        if let Some(memory) = &config.memory {
            machine.set_hotplug_memory(memory).await?;
        }
        machine.set_balloon(&config.balloon).await
    };
    // Both to their end, so that a refusal leaves the TAPs at their places.
    let (networked, said) = tokio::join!(add_network_interfaces(&machine, config, run), said);
    networked?;
    said.map_err(start_error)?;
    // It names the interface, which is there now.
    if let Some(metadata) = &config.metadata {
        machine.set_mmds_config(&metadata.service).await.map_err(start_error)?;
        machine.set_metadata(&metadata.content).await.map_err(start_error)?;
    }
    marks.end("configuration");
    let started = machine.start().await.map(drop).map_err(start_error);
    marks.end("InstanceStart");
    started
}

/// A machine that stands goes on. One that was loaded, and then hearth died, is made what it was to be first: its TAPs may still be away.
pub async fn resume(paused: Microvm<Paused>, folder: &Path, run: &Run) -> Result<(), VmmError> {
    let path = folder.to_owned();
    let unsettled = blocking(move || restore::is_staged(&path).then(|| read_config(&path)).transpose()).await?;
    let Some(config) = unsettled else { return paused.resume().await.map(drop).map_err(call_error) };
    bring_home(&config, run).await?;
    go_on(paused, &config, folder).await
}

/// One that was loaded goes on, with the snapshot's disk as the VM's. Its devices came with it, but not what its metadata service says.
async fn go_on(paused: Microvm<Paused>, config: &Config, folder: &Path) -> Result<(), VmmError> {
    if let Some(metadata) = &config.metadata {
        paused.replace_metadata(&metadata.content).await.map_err(call_error)?;
    }
    let folder = folder.to_owned();
    // The last step before: what is staged was not finished.
    blocking(move || restore::settle(&folder)).await?;
    paused.resume().await.map(drop).map_err(call_error)
}

/// As [`call_error`], with the remedy where there is one.
pub fn start_error(error: ApiError) -> VmmError {
    let fault = match &error {
        ApiError::Refused { fault, .. } => fault.to_lowercase(),
        _ => String::new(),
    };
    let detail = error.to_string();
    if fault.contains("tap") || fault.contains("network device") {
        VmmError::Network { detail }
    // One of another architecture is no word to it; the template is the only one there that it may not know.
    } else if fault.contains("template") || (fault.contains("unknown variant") && detail.contains("/machine-config")) {
        let ApiError::Refused { call, fault } = error else { return call_error(error) };
        VmmError::Refused {
            call,
            detail: format!("the CPU template does not fit this host's processor: give the VM another, or none ({fault})"),
        }
    } else if fault.contains("kvm") {
        // In its words alone, which end with the system's.
        let kind = match () {
            () if fault.contains("os error 2)") => io::ErrorKind::NotFound,
            () if fault.contains("os error 13)") || fault.contains("os error 1)") => io::ErrorKind::PermissionDenied,
            () => io::ErrorKind::Other,
        };
        VmmError::Spawn { detail: format!("{detail}: {}; see `hearth doctor`", kvm_remedy(kind)) }
    } else {
        call_error(error)
    }
}

/// The API's socket, once it listens.
async fn api_door(room: &Path, arrivals: &Arrivals, run: &Run) -> Result<Door, VmmError> {
    let deadline = Instant::now() + API_DEADLINE;
    loop {
        if let Ok(door) = Door::open(room, API_SOCKET)
            && tokio::net::UnixStream::connect(door.path()).await.is_ok()
        {
            return Ok(door);
        }
        let soon = deadline.min(Instant::now() + AGAIN);
        tokio::select! {
            _news = arrivals.next(soon) => {}
            _exit = run.exited() => return Err(VmmError::Gone),
        }
        if Instant::now() >= deadline {
            return Err(VmmError::Timeout { call: "its API socket", after_ms: API_DEADLINE.as_millis() as u64 });
        }
    }
}

/// A socket that is there but does not listen yet gives no sign when it does: microseconds later.
const AGAIN: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests;
