//! A session with a simulated guest: it may end, be deaf, refuse, or shut down late or never.

use crate::{machine::Machine, ports::pass};
use api::guest::{ErrorCode, ExecRequest, GuestError, InterfaceAddresses, MetricsSample, NetworkConfig};
use async_trait::async_trait;
use domain::{Attempt, VmId, invariant::Phase, vm::Exit};
use host::{
    guest::{Connection, ExecSession, GuestFault, GuestInfo, GuestSession, REQUEST_TIMEOUT, ShutdownKind},
    vmm::VmmError,
};
use std::{
    fmt,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

pub struct Guest {
    machine: Machine,
    vm: VmId,
    launch: Attempt,
    session: u64,
    /// When the connection breaks by itself.
    breaks_after_ms: Option<u64>,
    metrics: watch::Sender<Option<MetricsSample>>,
    addresses: watch::Sender<Vec<InterfaceAddresses>>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guest({} launch {} session {})", self.vm, self.launch.0, self.session)
    }
}

fn refused() -> GuestFault {
    GuestFault::Refused(GuestError::new(ErrorCode::Unsupported, "a simulated guest has none"))
}

impl Guest {
    pub fn connect(machine: Machine, vm: VmId, launch: Attempt) -> Result<Guest, VmmError> {
        let (session, breaks_after_ms) = {
            let mut state = machine.state();
            let trouble = state.trouble;
            let breaks = machine.faults.inject(&mut state.chance, trouble);
            let after = state.chance.between(0, 60_000);
            let process = state.vmm(vm, launch).ok_or(VmmError::Gone)?;
            process.session += 1;
            (process.session, breaks.then_some(after))
        };
        machine.tell(format_args!("hello of {vm} launch {} session {session}", launch.0));
        // An older session hears that it is over.
        machine.changed.notify_waiters();
        let (metrics, addresses) = (watch::Sender::new(None), watch::Sender::new(Vec::new()));
        Ok(Guest { machine, vm, launch, session, breaks_after_ms, metrics, addresses })
    }

    /// `None` once the session is over.
    fn phase(&self) -> Option<Phase> {
        let mut state = self.machine.state();
        let process = state.vmm(self.vm, self.launch)?;
        process.phase.filter(|_| process.session == self.session)
    }

    /// A paused guest answers nothing, a deaf one neither.
    async fn answer(&self, request: &'static str) -> Result<(), GuestFault> {
        let deaf = {
            let mut state = self.machine.state();
            let trouble = state.trouble;
            self.machine.faults.inject(&mut state.chance, trouble)
        };
        let answered = async {
            if deaf {
                std::future::pending::<()>().await;
            }
            loop {
                let changed = self.machine.changed.notified();
                match self.phase() {
                    None => return Err(GuestFault::Closed),
                    Some(Phase::Running) => return Ok(()),
                    Some(_) => changed.await,
                }
            }
        };
        let after_ms = REQUEST_TIMEOUT.as_millis() as u64;
        tokio::time::timeout(REQUEST_TIMEOUT, answered).await.unwrap_or(Err(GuestFault::Timeout { request, after_ms }))
    }
}

#[async_trait]
impl GuestSession for Guest {
    fn info(&self) -> GuestInfo {
        GuestInfo { agent_version: "simulated".into(), generation: 1, ..GuestInfo::default() }
    }

    async fn ping(&self) -> Result<Duration, GuestFault> {
        self.answer("ping").await.map(|()| Duration::ZERO)
    }

    async fn exec(&self, _: ExecRequest) -> Result<ExecSession, GuestFault> {
        Err(refused())
    }

    async fn connect(&self, _: u16) -> Result<Connection, GuestFault> {
        Err(refused())
    }

    fn metrics(&self) -> watch::Receiver<Option<MetricsSample>> {
        self.metrics.subscribe()
    }

    async fn metrics_interval(&self, _: Option<Duration>) -> Result<(), GuestFault> {
        Ok(())
    }

    fn addresses(&self) -> watch::Receiver<Vec<InterfaceAddresses>> {
        self.addresses.subscribe()
    }

    async fn set_clock(&self, _: SystemTime) -> Result<(), GuestFault> {
        self.answer("set-clock").await
    }

    async fn add_entropy(&self, _: &[u8]) -> Result<(), GuestFault> {
        self.answer("add-entropy").await
    }

    async fn configure_network(&self, _: NetworkConfig) -> Result<(), GuestFault> {
        Err(refused())
    }

    async fn shutdown(&self, _: ShutdownKind, _: Duration) -> Result<(), GuestFault> {
        self.answer("shutdown").await?;
        let mut state = self.machine.state();
        let now = state.now;
        let trouble = state.trouble;
        let ignores = self.machine.faults.inject(&mut state.chance, 2 * trouble);
        let after = state.chance.delay_ms();
        if let Some(process) = state.vmm(self.vm, self.launch)
            && !ignores
        {
            process.ends = Some((now + after, Exit::GuestShutdown));
        }
        drop(state);
        self.machine.tell(format_args!("{} is to shut down; ignores it: {ignores}", self.vm));
        // Whoever waits for its end learns when that is.
        self.machine.changed.notify_waiters();
        Ok(())
    }

    async fn closed(&self) -> GuestFault {
        let over = async {
            loop {
                let changed = self.machine.changed.notified();
                if self.phase().is_none() {
                    return;
                }
                changed.await;
            }
        };
        match self.breaks_after_ms {
            None => over.await,
            Some(after) => {
                let broken = async { pass(after.max(1)).await };
                tokio::select! {
                    biased;
                    () = over => {}
                    () = broken => return GuestFault::Broken { detail: "a simulated break".into() },
                }
            }
        }
        GuestFault::Closed
    }
}
