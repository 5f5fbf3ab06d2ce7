//! The two halves of a start: making the held process, and letting it run. On an error of the first nothing is left.

use super::super::shared::{
    gate::{self, Gate, Program},
    layout::{self, storage_error},
    process,
    run::Run,
    settle::settle,
};
use super::super::{MachinePlan, VmmError, limits::Needs};
use super::command::Acceleration;
use super::files::{CONTROL_SOCKET, EVENTS_LOG, EVENTS_SOCKET, SOCKETS, VMM_LOG};
use super::qmp::Qmp;
use super::{Inner, command, detect, ending::last_words};
use domain::{
    Attempt,
    vm::{Driver, Machine},
};
use serde_json::Value;
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::Path,
    time::Duration,
};
use tokio::time::Instant;

/// QEMU answers 0.1 to 0.5 s after exec; forty at once on two cores took 15 s.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the process and holds it. Blocks.
pub fn hold(inner: &Inner, plan: &MachinePlan, launch: Attempt) -> Result<(Machine, OwnedFd, Gate), VmmError> {
    let folder = inner.ground.folder(plan.vm);
    layout::make_folder(&folder)?;
    let unbind = || SOCKETS.iter().for_each(|name| drop(layout::remove_file(&folder.join(name))));
    // One that was bound stays when the next can't be.
    let program = program(inner, plan, &folder).inspect_err(|_| unbind())?;
    let held = gate::hold(&program);
    // From here on only the new process listens: were a copy left here, connecting would succeed after its end.
    drop(program);
    let (pid, pidfd, gate) = held.inspect_err(|_| unbind())?;
    match record(inner, plan, launch, pid)
        .and_then(|machine| settle(&inner.ground, plan.vm, &machine, &needs(inner, plan)).map(|()| machine))
    {
        Ok(machine) => Ok((machine, pidfd, gate)),
        Err(error) => {
            // Without its gate it ends at once by itself.
            drop(gate);
            process::reap_when_gone(&pidfd);
            unbind();
            Err(error)
        }
    }
}

/// QEMU's own memory: its code and devices, and emulated also the code that it makes of the guest's, of which it keeps up to 1 GiB.
fn needs(inner: &Inner, plan: &MachinePlan) -> Needs {
    let overhead_mib = match inner.acceleration {
        Acceleration::Kvm => 256,
        Acceleration::Tcg { .. } => 256 + 1024,
    };
    Needs { vcpus: plan.vcpus, mem_mib: plan.mem_mib, overhead_mib, io: None }
}

fn record(inner: &Inner, plan: &MachinePlan, launch: Attempt, pid: u32) -> Result<Machine, VmmError> {
    let stat = process::stat(pid).ok_or_else(|| VmmError::EndedAtStart { detail: format!("no process {pid} ({})", plan.vm) })?;
    let executable = inner.binary.to_string_lossy().into_owned();
    Ok(Machine { launch, driver: Driver::Qemu, pid, start_ticks: stat.start_ticks, executable, version: inner.version.clone() })
}

fn program(inner: &Inner, plan: &MachinePlan, folder: &Path) -> Result<Program, VmmError> {
    let failed = |source| storage_error(folder, source);
    if !inner.binary.is_file() {
        // It was there when hearth started; exec would only say "no such file", and only after the VM's state has moved on.
        let hint = format!("it was {} when hearth started; install the package qemu-system-x86 again", inner.binary.display());
        return Err(VmmError::ProgramMissing { program: detect::BINARY.into(), hint });
    }
    let kernel = plan.kernel.canonicalize().map_err(|source| VmmError::Base { path: plan.kernel.clone(), source })?;
    let initrd = inner.boot.initrd(plan.initrd.as_deref())?;
    let words = command::arguments(plan, &inner.ground.owner, inner.acceleration, &kernel, &initrd);
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| VmmError::Spawn { detail: "an argument holds a zero byte".into() });
    for log in [EVENTS_LOG, VMM_LOG] {
        layout::remove_file(&folder.join(log)).map_err(failed)?;
    }
    let log = File::options().create(true).append(true).mode(0o600).open(folder.join(VMM_LOG)).map_err(failed)?;
    let copy = log.try_clone().map_err(failed)?;
    let null = File::open("/dev/null").map_err(failed)?;
    let opened = layout::open_folder(folder).map_err(failed)?;
    let listeners = SOCKETS.iter().map(|name| layout::listen(&opened, name).map(OwnedFd::from)).collect::<io::Result<Vec<_>>>();
    Ok(Program {
        executable: text(inner.binary.as_os_str().as_bytes())?,
        arguments: words.iter().map(|word| text(word.as_bytes())).collect::<Result<_, _>>()?,
        environment: vec![text(b"PATH=/usr/bin:/bin")?, text(b"LANG=C")?],
        folder: opened,
        standard: [null.into(), copy.into(), log.into()],
        apart: false,
        inherited: listeners.map_err(failed)?,
    })
}

/// Lets the process run until its vCPUs do. May be repeated.
pub async fn release(run: &Run, folder: &Path) -> Result<(), VmmError> {
    let result = async {
        if let Some(gate) = run.take_gate() {
            gate.release().await?;
        }
        let deadline = Instant::now() + START_DEADLINE;
        // Settled once, this monitor goes on writing its events to the log, with or without anyone connected.
        drop(Qmp::open(folder, EVENTS_SOCKET, deadline).await?);
        let mut control = Qmp::open(folder, CONTROL_SOCKET, deadline).await?;
        control.call("cont", Value::Null, deadline).await
    }
    .await;
    match result {
        Ok(_) => Ok(()),
        Err(VmmError::Gone) => {
            // Its last words are complete once it has ended.
            let _exit = tokio::time::timeout(START_DEADLINE, run.exited()).await;
            let detail = last_words(folder);
            Err(if detail.contains("/dev/net/tun") { VmmError::Network { detail } } else { VmmError::EndedAtStart { detail } })
        }
        Err(error) => Err(error),
    }
}
