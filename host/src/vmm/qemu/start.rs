//! The two halves of a start: making the held process, and letting it run. On an error of the first nothing is left.

use super::super::shared::{
    boot, cmdline, drives,
    gate::Program,
    hold::{self, Held, Launch},
    layout::{self, storage_error},
    run::Run,
    seed,
};
use super::super::{
    MachinePlan, VmmError,
    limits::{Needs, transfers},
};
use super::command::Acceleration;
use super::files::{CONTROL_SOCKET, DISK, EVENTS_LOG, EVENTS_SOCKET, SOCKETS, VMM_LOG};
use super::qmp::Qmp;
use super::{Inner, command, detect, disk, ending::last_words, own, tuning};
use domain::{Attempt, vm::Driver};
use serde_json::Value;
use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    time::Duration,
};
use tokio::time::Instant;

/// QEMU answers 0.1 to 0.5 s after exec; forty at once on two cores took 15 s.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the process and holds it. Blocks.
pub fn hold(inner: &Inner, plan: &MachinePlan, attempt: Attempt) -> Result<Held, VmmError> {
    let launch = Launch {
        vm: plan.vm,
        attempt,
        driver: Driver::Qemu,
        executable: &inner.binary,
        version: &inner.version,
        needs: needs(inner, plan),
    };
    // One that was bound stays when the next can't be.
    let unmake = |folder: &Path| {
        SOCKETS.iter().for_each(|name| drop(layout::remove_file(&folder.join(name))));
        // The first error is the one to tell; `clean` removes what this can't.
        let _left = own::remove(folder);
    };
    hold::hold(&inner.ground, &launch, |folder| program(inner, plan, attempt, folder), unmake)
}

/// QEMU's own memory: its code and devices, and emulated also the code that it makes of the guest's, of which it keeps up to 1 GiB.
fn needs(inner: &Inner, plan: &MachinePlan) -> Needs {
    let overhead_mib = match inner.acceleration {
        Acceleration::Kvm => 256,
        Acceleration::Tcg { .. } => 256 + 1024,
    };
    let io = transfers::bound(&plan.tuning.rate_limits, 1 + plan.disk.drives.all().len(), &inner.ground.layout.vms());
    Needs { vcpus: plan.vcpus, mem_mib: plan.mem_mib, overhead_mib, io }
}

fn program(inner: &Inner, plan: &MachinePlan, attempt: Attempt, folder: &Path) -> Result<Program, VmmError> {
    let failed = |source| storage_error(folder, source);
    hold::still_there(&inner.binary, detect::BINARY, "install the package qemu-system-x86 again")?;
    // Its devices are told to the guest elsewhere.
    cmdline::check(&command::kernel_cmdline(plan, inner.acceleration), 0)?;
    let kernel = boot::kernel(plan)?;
    let initrd = inner.boot.initrd(plan.initrd.as_deref())?;
    let own = inner.users.as_ref().map(|users| users.prepare(plan.vm, folder, attempt)).transpose()?;
    // First of all that opens the disk: what stands in it may be the work of a QEMU that was taken over.
    disk::open(&plan.disk, &folder.join(DISK), own.as_ref().map(own::Own::uid))?;
    drives::settle(&plan.disk, folder)?;
    tuning::keep(&plan.tuning, folder)?;
    seed::write(plan, folder)?;
    let words = command::arguments(plan, &inner.ground.owner, inner.acceleration, &kernel, &initrd, own.as_ref());
    for log in [EVENTS_LOG, VMM_LOG] {
        layout::remove_file(&folder.join(log)).map_err(failed)?;
    }
    let log = hold::log(folder, VMM_LOG).map_err(failed)?;
    let copy = log.try_clone().map_err(failed)?;
    let null = File::open("/dev/null").map_err(failed)?;
    let opened = layout::open_folder(folder).map_err(failed)?;
    let listeners = SOCKETS.iter().map(|name| layout::listen(&opened, name).map(OwnedFd::from)).collect::<io::Result<Vec<_>>>();
    Ok(Program {
        executable: hold::word(inner.binary.as_os_str().as_bytes())?,
        arguments: words.iter().map(hold::word).collect::<Result<_, _>>()?,
        environment: hold::environment(),
        folder: opened,
        standard: [null.into(), copy.into(), log.into()],
        apart: false,
        inherited: listeners.map_err(failed)?,
    })
}

/// Lets the process run until its vCPUs do, once it is as it should be, which `confined` tells. May be repeated.
pub async fn release(run: &Run, folder: &Path, confined: impl Future<Output = Result<(), VmmError>>) -> Result<(), VmmError> {
    let result = async {
        if let Some(gate) = run.take_gate() {
            gate.release().await?;
        }
        let deadline = Instant::now() + START_DEADLINE;
        // Settled once, this monitor goes on writing its events to the log, with or without anyone connected.
        drop(Qmp::open(folder, EVENTS_SOCKET, deadline).await?);
        let mut control = Qmp::open(folder, CONTROL_SOCKET, deadline).await?;
        // Whoever answers here has changed its user and root, and no guest ran in it before.
        confined.await?;
        tuning::begin(&mut control, folder, deadline).await?;
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
