//! The two halves of a start: making the held process, and letting it run. On an error of the first nothing is left.

use super::super::{
    MachinePlan, VmmError,
    limits::{FIRECRACKER_MIB, Needs},
    shared::{
        boot, dashed_mark,
        gate::Program,
        hold::{self, Held, Launch},
        layout::{self, CONSOLE_LOG, storage_error},
        run::Run,
        seed,
    },
};
use super::api::{ApiError, Configuring, Found, Microvm, Socket};
use super::config::{self, Config, Port};
use super::door::{Arrivals, Door};
use super::files::{API_SOCKET, CONFIG, DISK, ERRORS, KEYBOARD, VMM_LOG};
use super::room::{self, Room};
use super::snapshot::Origin;
use super::{Inner, asking::call_error, disk, ending, metadata, snapshot};
use crate::net::{NetError, lend};
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

/// Between the end of a process and the news of it.
const ENDING: Duration = Duration::from_millis(100);
/// From a connection that a process ends to its own end, if that is why: it gives back the guest's memory first.
const FALLING: Duration = Duration::from_secs(5);
/// From exec to the API's socket: 33 to 100 ms were seen under emulation, and the jailer copies a program of 3 MB first.
const API_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the process and holds it. Blocks.
pub fn hold(
    inner: &Inner,
    plan: &MachinePlan,
    port: Option<Port>,
    from: Option<&Path>,
    attempt: Attempt,
) -> Result<Held, VmmError> {
    let launch = Launch {
        vm: plan.vm,
        attempt,
        driver: Driver::Firecracker,
        executable: &inner.binary,
        version: &inner.version.text,
        needs: needs(plan),
    };
    let unmake = |_: &Path| {
        // The first error is the one to tell; `clean` removes what this can't.
        let _left = inner.unmake_room(plan.vm);
    };
    hold::hold(&inner.ground, &launch, |folder| program(inner, plan, port, from, folder), unmake)
}

fn needs(plan: &MachinePlan) -> Needs {
    Needs { vcpus: plan.vcpus, mem_mib: plan.mem_mib, overhead_mib: FIRECRACKER_MIB, io: None }
}

fn program(
    inner: &Inner,
    plan: &MachinePlan,
    port: Option<Port>,
    from: Option<&Path>,
    folder: &Path,
) -> Result<Program, VmmError> {
    let failed = |source| storage_error(folder, source);
    hold::still_there(&inner.binary, "firecracker", "install it again")?;
    let (kernel, initrd) = (boot::kernel(plan)?, inner.boot.initrd(plan.initrd.as_deref())?);
    for log in [VMM_LOG, ERRORS] {
        layout::remove_file(&folder.join(log)).map_err(failed)?;
    }
    hold::log(folder, VMM_LOG).map_err(failed)?;
    seed::write(plan, folder)?;
    if let Some(from) = from {
        snapshot::check(from)?;
        snapshot::put_back_disk(from, &folder.join(DISK))?;
    } else {
        disk::grow(&plan.disk, &folder.join(DISK))?;
    }
    let files = room::Files { folder, kernel: &kernel, initrd: &initrd, has_seed: plan.cloud_init.is_some(), from };
    let room = match &inner.jails {
        Some(jails) => room::jailed(&jails.jail(plan.vm)?, &files)?,
        None => room::open(&inner.binary, &dashed_mark(&inner.ground.owner, plan.vm), &files)?,
    };
    if let (Some(nic), Some(jails)) = (&plan.nic, &inner.jails) {
        let uid = jails.jail(plan.vm)?.uid();
        crate::net::give_tap(&nic.tap, uid).map_err(|error| VmmError::Network { detail: format!("{}: {error}", nic.tap) })?;
    }
    let Room { works_in, paths, arguments, program } = room;
    let mut config = config::config(plan, paths, &inner.version)
        .map_err(|invalid| VmmError::Refused { call: "configuration", detail: invalid.to_string() })?;
    // One without a jail opens its TAP where it is.
    config.port = port.filter(|_| inner.jails.is_some());
    config.metadata = metadata::metadata(plan)?;
    config.origin = from.map(|from| if inner.jails.is_some() { snapshot::in_jail() } else { snapshot::in_place(from) });
    write_config(folder, &config)?;
    let mut console = hold::log(folder, CONSOLE_LOG).map_err(failed)?;
    console.write_all(ending::launch_line().as_bytes()).map_err(failed)?;
    Ok(Program {
        executable: hold::word(program.as_os_str().as_bytes())?,
        arguments: arguments.iter().map(hold::word).collect::<Result<_, _>>()?,
        environment: hold::environment(),
        folder: layout::open_folder(&works_in).map_err(failed)?,
        standard: [keyboard(folder).map_err(failed)?, console.into(), hold::log(folder, ERRORS).map_err(failed)?.into()],
        apart: inner.jails.is_some(),
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
    fs::write(&path, text).map_err(|source| storage_error(&path, source))
}

pub fn read_config(folder: &Path) -> Result<Config, VmmError> {
    let path = folder.join(CONFIG);
    let bytes = fs::read(&path).map_err(|source| storage_error(&path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| VmmError::Spawn { detail: format!("{}: {error}", path.display()) })
}

/// Where the TAP device of a VM is now: what was attached.
pub async fn port(plan: &MachinePlan) -> Result<Option<Port>, VmmError> {
    let Some(nic) = &plan.nic else { return Ok(None) };
    let bridge = lend::bridge_of(&nic.tap).await.map_err(|error| network_error(&error))?;
    Ok(Some(Port { bridge, mac: nic.mac }))
}

fn network_error(error: &NetError) -> VmmError {
    VmmError::Network { detail: error.to_string() }
}

/// Lets the process run until its vCPUs do. May be repeated.
pub async fn release(inner: &Inner, run: &Run, vm: domain::VmId) -> Result<(), VmmError> {
    let (folder, room) = (inner.ground.folder(vm), inner.room(vm));
    let room = room.as_path();
    let result = async {
        let arrivals = Arrivals::of(room);
        let early = match run.take_gate() {
            Some(gate) => {
                gate.release().await?;
                Some(read_config(&folder)?)
            }
            // Who finds it released does not know yet whether a guest runs, whose network this would be.
            None => None,
        };
        // A move takes the kernel about 20 ms (measured): less than the process takes to its API. One that fails is made again, and told, below.
        let (door, _early) = tokio::join!(api_door(room, &arrivals, run), async {
            match early.as_ref().and_then(Config::lent) {
                Some((tap, _port)) => lend::lend(tap, run.pidfd()).await,
                None => Ok(()),
            }
        });
        let door = door?;
        match Found::at(Socket::new(door.path())).await.map_err(call_error)? {
            Found::Running(_) => Ok(()),
            Found::Paused(paused) => {
                // One that was loaded, and then hearth died: its TAP may still be away.
                bring_home(&read_config(&folder)?, run).await?;
                paused.resume().await.map(drop).map_err(call_error)
            }
            Found::NotStarted(machine) => {
                let config = early.map_or_else(|| read_config(&folder), Ok)?;
                match &config.origin {
                    Some(origin) => load_and_resume(origin, Socket::new(door.path()), &config, run).await,
                    None => configure_and_start(machine, &config, run).await,
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

async fn configure_and_start(machine: Microvm<Configuring>, config: &Config, run: &Run) -> Result<(), VmmError> {
    // What an earlier try, that was cut off, has said already is said again: Firecracker replaces it, and removes its old vsock socket itself.
    let said = async {
        machine.set_machine(&config.machine).await?;
        machine.set_boot_source(&config.boot).await?;
        machine.add_drive(&config.root).await?;
        if let Some(seed) = &config.seed {
            machine.add_drive(seed).await?;
        }
        machine.set_vsock(&config.vsock).await?;
        machine.set_entropy(None).await?;
        machine.set_balloon(&config.balloon).await
    };
    // Both to their end, so that a refusal leaves the TAP at its place.
    let (networked, said) = tokio::join!(add_network_interface(&machine, config, run), said);
    networked?;
    said.map_err(start_error)?;
    // It names the interface, which is there now.
    if let Some(metadata) = &config.metadata {
        machine.set_mmds_config(&metadata.service).await.map_err(start_error)?;
        machine.set_metadata(&metadata.content).await.map_err(start_error)?;
    }
    machine.start().await.map(drop).map_err(start_error)
}

/// The machine of a snapshot goes on. Its devices come with it, and so does the opening of its TAP.
async fn load_and_resume(origin: &Origin, socket: Socket, config: &Config, run: &Run) -> Result<(), VmmError> {
    let loaded = with_tap(config, run, origin.load(socket, config.machine.track_dirty_pages)).await?;
    loaded.resume().await.map(drop).map_err(call_error)
}

/// As it is when a guest runs. A TAP that is there stays.
async fn bring_home(config: &Config, run: &Run) -> Result<(), VmmError> {
    let Some((tap, port)) = config.lent() else { return Ok(()) };
    if config.origin.is_none() || lend::bridge_of(tap).await.is_ok_and(|bridge| bridge == port.bridge) {
        return Ok(());
    }
    let back = lend::take_back(tap, run.pidfd(), port.bridge.as_deref(), Some(port.mac)).await;
    back.map_err(|error| network_error(&error))
}

/// Firecracker opens the TAP in its own network namespace. No guest runs before it is back and bound, so that one that runs has its network,
/// whenever hearth dies.
async fn add_network_interface(machine: &Microvm<Configuring>, config: &Config, run: &Run) -> Result<(), VmmError> {
    let Some(nic) = &config.nic else { return Ok(()) };
    with_tap(config, run, async { machine.add_network_interface(nic).await.map_err(start_error) }).await
}

/// Has the process do what opens the TAP, once the TAP is where the process sees it.
async fn with_tap<T>(config: &Config, run: &Run, open: impl Future<Output = Result<T, VmmError>>) -> Result<T, VmmError> {
    let Some((tap, port)) = config.lent() else { return open.await };
    let lent = async {
        lend::lend(tap, run.pidfd()).await.map_err(|error| network_error(&error))?;
        let opened = open.await;
        // Also after a refusal: the device outlives the process.
        let back = lend::take_back(tap, run.pidfd(), port.bridge.as_deref(), Some(port.mac)).await;
        opened.and_then(|opened| back.map(|()| opened).map_err(|error| network_error(&error)))
    };
    match lent.await {
        // A namespace that can't be entered is that of a process that is ending.
        Err(VmmError::Network { .. }) if tokio::time::timeout(ENDING, run.exited()).await.is_ok() => Err(VmmError::Gone),
        result => result,
    }
}

/// As [`call_error`], with the remedy where there is one.
fn start_error(error: ApiError) -> VmmError {
    let fault = match &error {
        ApiError::Refused { fault, .. } => fault.to_lowercase(),
        _ => String::new(),
    };
    let detail = error.to_string();
    if fault.contains("tap") || fault.contains("network device") {
        VmmError::Network { detail }
    } else if fault.contains("template") {
        let ApiError::Refused { call, fault } = error else { return call_error(error) };
        VmmError::Refused { call, detail: format!("the CPU template does not fit this host's processor ({fault})") }
    } else if fault.contains("kvm") {
        VmmError::Spawn { detail: format!("{detail}: load the module kvm_intel or kvm_amd, and see `hearth doctor`") }
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
