//! One VM of a test: made, used, and taken away with a look for what it left.

use crate::{PATIENCE, Server, images::ROOTFS, remains, until};
use anyhow::{Context, Result, bail, ensure};
use api::{
    client::{Accepted, Client, ClientError, Options},
    problem::Problem,
    v1::{CreateVm, ExecRequest, ExecResult, Labels, RestartPolicy, StopRequest, Vm, VmSpec, VmState},
};
use std::time::Duration;

/// What the server may wait for an operation: a boot under emulation on a busy machine, with room.
pub const WAIT_S: u32 = 60;
/// What a VM used is given back before its operation ends; a parent reaps the process a moment later.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A small VM's spec: busybox, one vCPU, 128 MiB.
pub fn small() -> VmSpec {
    VmSpec {
        host: None,
        vcpus: 1,
        mem_mib: 128,
        mem_max_mib: None,
        kernel: None,
        image: ROOTFS.to_owned(),
        disk_mib: None,
        drives: Vec::new(),
        cmdline: None,
        networks: vec!["default".into()],
        restart: RestartPolicy::Never,
        rate_limits: api::v1::RateLimits::default(),
        balloon_mib: 0,
        cpu_template: None,
        cloud_init: None,
        metadata: None,
    }
}

/// The request that makes it.
pub fn create(name: &str, spec: VmSpec, start: bool) -> CreateVm {
    CreateVm { name: Some(name.to_owned()), project: None, labels: Labels::new(), spec, start }
}

/// Waits for the end of the operation.
pub fn waiting() -> Options {
    Options { wait_s: Some(WAIT_S), ..Options::default() }
}

pub struct Guest {
    client: Client,
    pub id: String,
    pub name: String,
}

impl Guest {
    /// Made and running.
    pub async fn boot(server: &Server, name: &str, spec: VmSpec) -> Result<Guest> {
        let accepted = server.client().vms().create(&create(name, spec, true), &waiting()).await;
        let accepted = accepted.with_context(|| format!("create and start {name}"))?;
        let guest = Guest::of(server, &accepted)?;
        let vm = guest.get().await?;
        ensure!(vm.status.state == VmState::Running, "{name} is {} after its start", vm.status.state.as_str());
        Ok(guest)
    }

    /// Made and not started.
    pub async fn make(server: &Server, name: &str, spec: VmSpec) -> Result<Guest> {
        let accepted = server.client().vms().create(&create(name, spec, false), &waiting()).await;
        Guest::of(server, &accepted.with_context(|| format!("create {name}"))?)
    }

    pub fn of(server: &Server, accepted: &Accepted<Vm>) -> Result<Guest> {
        let vm = accepted.resource.as_ref().context("a VM in the answer")?;
        Ok(Guest { client: server.client().clone(), id: vm.id.clone(), name: vm.name.clone() })
    }

    /// One that somebody else has made.
    pub async fn named(server: &Server, name: &str) -> Result<Guest> {
        let vm = server.client().vms().get(name).await.with_context(|| format!("get {name}"))?;
        Ok(Guest { client: server.client().clone(), id: vm.id, name: vm.name })
    }

    pub async fn get(&self) -> Result<Vm> {
        self.client.vms().get(&self.id).await.with_context(|| format!("get {}", self.name))
    }

    pub async fn pid(&self) -> Result<u32> {
        let vm = self.get().await?;
        let vmm = vm.status.vmm.with_context(|| format!("{} has no VMM ({})", self.name, vm.status.state.as_str()))?;
        Ok(vmm.pid)
    }

    pub async fn address(&self) -> Result<String> {
        self.get().await?.status.ips.into_iter().next().with_context(|| format!("{} has no address", self.name))
    }

    /// Waits for a state; failing for good ends the wait at once.
    pub async fn reaches(&self, state: VmState) -> Result<Vm> {
        let what = format!("{} {}", self.name, state.as_str());
        until(&what, PATIENCE, || async {
            let vm = self.get().await?;
            if vm.status.state == VmState::Failed && state != VmState::Failed {
                bail!("{} failed: {:?}", self.name, vm.status.reason);
            }
            Ok((vm.status.state == state).then_some(vm))
        })
        .await
    }

    /// A program in the guest, whatever its end.
    pub async fn run(&self, command: &[&str]) -> Result<ExecResult> {
        let request = ExecRequest { command: command.iter().map(|word| (*word).to_owned()).collect(), ..ExecRequest::default() };
        self.client.vms().exec(&self.id, &request).await.with_context(|| format!("{command:?} in {}", self.name))
    }

    /// What a shell line prints; a failing one is an error.
    pub async fn sh(&self, line: &str) -> Result<String> {
        let result = self.run(&["sh", "-c", line]).await?;
        ensure!(result.exit.code == Some(0), "{line:?} in {} ended with {:?}: {}", self.name, result.exit, result.stderr);
        Ok(result.stdout.trim().to_owned())
    }

    /// A shell line that ends the guest, so that its answer may not come.
    pub async fn last_words(&self, line: &str) {
        let _ = self.run(&["sh", "-c", line]).await;
    }

    pub async fn start(&self) -> Result<()> {
        self.client.vms().start(&self.id, &waiting()).await.with_context(|| format!("start {}", self.name)).map(|_| ())
    }

    pub async fn stop(&self, force: bool) -> Result<()> {
        let request = StopRequest { force, deadline_s: None };
        self.client.vms().stop(&self.id, &request, &waiting()).await.with_context(|| format!("stop {}", self.name)).map(|_| ())
    }

    pub async fn pause(&self) -> Result<()> {
        self.client.vms().pause(&self.id, &waiting()).await.with_context(|| format!("pause {}", self.name)).map(|_| ())
    }

    pub async fn resume(&self) -> Result<()> {
        self.client.vms().resume(&self.id, &waiting()).await.with_context(|| format!("resume {}", self.name)).map(|_| ())
    }

    pub async fn reboot(&self) -> Result<()> {
        let request = StopRequest::default();
        let done = self.client.vms().reboot(&self.id, &request, &waiting()).await;
        done.with_context(|| format!("reboot {}", self.name)).map(|_| ())
    }

    /// Deleted, with a look from outside for what is left of it.
    pub async fn delete(&self, server: &Server, force: bool) -> Result<()> {
        self.client.vms().delete(&self.id, force, &waiting()).await.with_context(|| format!("delete {}", self.name))?;
        self.is_gone(server).await
    }

    /// The API knows it no more, and nothing of it is on the machine.
    pub async fn is_gone(&self, server: &Server) -> Result<()> {
        let problem = refused(self.client.vms().get(&self.id).await)?;
        ensure!(problem.status == 404, "{} is still there: {problem:?}", self.name);
        nothing_left(server, Some(&self.id)).await
    }
}

/// Nothing of the VM (or of any VM) is on the machine.
pub async fn nothing_left(server: &Server, vm: Option<&str>) -> Result<()> {
    let owner = server.owner()?;
    let mut seen = Vec::new();
    let waited = until("a machine without remains", GONE_WITHIN, || {
        seen = remains::of(&owner, server.data_dir(), vm);
        let clean = seen.is_empty();
        async move { Ok(clean.then_some(())) }
    })
    .await;
    waited.with_context(|| format!("left behind: {seen:?}"))
}

/// The problem that a call was refused with; an error if it was not refused.
pub fn refused<T>(result: Result<T, ClientError>) -> Result<Problem> {
    match result {
        Ok(_) => bail!("it was accepted"),
        Err(ClientError::Problem(problem)) => Ok(*problem),
        Err(error) => bail!("refused without a problem document: {error}"),
    }
}
