//! The session of a guest that is not there: says hello at once, answers what needs no guest, refuses the rest.

use super::{Shared, Simulation, notes::Phase};
use crate::guest::{ExecSession, GuestFault, GuestInfo, GuestSession, REQUEST_TIMEOUT};
use api::guest::{
    CpuTimes, ErrorCode, ExecRequest, GuestError, InterfaceAddress, InterfaceAddresses, Memory, MetricsSample, NetworkConfig,
    Processes, ShutdownKind,
};
use async_trait::async_trait;
use domain::{
    VmId,
    vm::{Exit, Machine},
};
use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::AbortHandle};

/// A pace below this would only cost.
const QUICKEST_PACE: Duration = Duration::from_millis(100);
const MIB: u64 = 1 << 20;

pub struct SimulatedGuest {
    shared: Arc<Shared>,
    vm: VmId,
    machine: Machine,
    watch: watch::Receiver<Simulation>,
    session: u64,
    since: Instant,
    metrics: OnceLock<watch::Sender<Option<MetricsSample>>>,
    addresses: OnceLock<watch::Sender<Vec<InterfaceAddresses>>>,
    pace: Mutex<Option<AbortHandle>>,
}

impl fmt::Debug for SimulatedGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedGuest({}, session {})", self.vm, self.session)
    }
}

impl Drop for SimulatedGuest {
    fn drop(&mut self) {
        self.keep_pace(None);
    }
}

impl SimulatedGuest {
    pub(super) fn new(shared: Arc<Shared>, vm: VmId, machine: Machine, watch: watch::Receiver<Simulation>, session: u64) -> Self {
        let (metrics, addresses) = (OnceLock::new(), OnceLock::new());
        Self { shared, vm, machine, watch, session, since: Instant::now(), metrics, addresses, pace: Mutex::new(None) }
    }

    fn keep_pace(&self, pace: Option<AbortHandle>) {
        if let Some(older) = std::mem::replace(&mut *self.pace.lock().unwrap_or_else(PoisonError::into_inner), pace) {
            older.abort();
        }
    }

    fn sample(&self) -> MetricsSample {
        sample(&self.watch.borrow(), self.since)
    }

    fn is_over(session: u64, simulation: &Simulation) -> bool {
        simulation.session != session || matches!(simulation.phase, Phase::Gone(_))
    }

    /// A paused guest answers nothing; waits for it as a real session would.
    async fn answer(&self, request: &'static str) -> Result<(), GuestFault> {
        let mut watch = self.watch.clone();
        let ready = |simulation: &Simulation| simulation.phase == Phase::Running || Self::is_over(self.session, simulation);
        match tokio::time::timeout(REQUEST_TIMEOUT, watch.wait_for(ready)).await {
            Err(_) => Err(GuestFault::Timeout { request, after_ms: REQUEST_TIMEOUT.as_millis() as u64 }),
            Ok(Ok(simulation)) if !Self::is_over(self.session, &simulation) => Ok(()),
            Ok(_) => Err(GuestFault::Closed),
        }
    }
}

/// Made up from the plan: a quarter of the memory in use, every CPU idle.
fn sample(simulation: &Simulation, since: Instant) -> MetricsSample {
    let uptime_ms = since.elapsed().as_millis() as u64;
    let total_bytes = u64::from(simulation.note.mem_mib) * MIB;
    let cpus = simulation.note.vcpus;
    MetricsSample {
        uptime_ms,
        epoch_ns: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64),
        cpu: CpuTimes { cpus, idle_ms: uptime_ms * u64::from(cpus), ..CpuTimes::default() },
        memory: Memory {
            total_bytes,
            available_bytes: total_bytes / 4 * 3,
            free_bytes: total_bytes / 4 * 3,
            ..Memory::default()
        },
        processes: Processes { total: 1, running: 0 },
        ..MetricsSample::default()
    }
}

fn refused() -> GuestFault {
    GuestFault::Refused(GuestError::new(ErrorCode::Unsupported, "the simulated driver has no guest"))
}

#[async_trait]
impl GuestSession for SimulatedGuest {
    fn info(&self) -> GuestInfo {
        let note = Arc::clone(&self.watch.borrow().note);
        GuestInfo {
            agent_version: "simulated".into(),
            generation: 1,
            kernel_release: "simulated".into(),
            boot_id: format!("simulated-{:016x}", note.start_ticks),
            hostname: note.hostname.clone(),
            init: "other".into(),
        }
    }

    async fn ping(&self) -> Result<Duration, GuestFault> {
        let from = Instant::now();
        self.answer("ping").await.map(|()| from.elapsed())
    }

    async fn exec(&self, _request: ExecRequest) -> Result<ExecSession, GuestFault> {
        self.answer("exec").await?;
        Err(refused())
    }

    fn metrics(&self) -> watch::Receiver<Option<MetricsSample>> {
        let sender = self.metrics.get_or_init(|| watch::Sender::new(None));
        sender.send_replace(Some(self.sample()));
        sender.subscribe()
    }

    async fn metrics_interval(&self, interval: Option<Duration>) -> Result<(), GuestFault> {
        self.answer("subscribe-metrics").await?;
        // Without a pace nothing ticks: the sample is as old as the last look.
        let pace = interval.map(|interval| {
            let sender = self.metrics.get_or_init(|| watch::Sender::new(None)).clone();
            let (watch, since, session) = (self.watch.clone(), self.since, self.session);
            let mut tick = tokio::time::interval(interval.max(QUICKEST_PACE));
            tokio::spawn(async move {
                loop {
                    tick.tick().await;
                    if Self::is_over(session, &watch.borrow()) {
                        return;
                    }
                    sender.send_replace(Some(sample(&watch.borrow(), since)));
                }
            })
            .abort_handle()
        });
        self.keep_pace(pace);
        Ok(())
    }

    fn addresses(&self) -> watch::Receiver<Vec<InterfaceAddresses>> {
        let note = Arc::clone(&self.watch.borrow().note);
        let one = |(address, prefix): (std::net::Ipv4Addr, u8)| InterfaceAddresses {
            interface: "eth0".into(),
            mac: note.mac.unwrap_or_default().map(|byte| format!("{byte:02x}")).join(":"),
            addresses: vec![InterfaceAddress { address: address.into(), prefix }],
        };
        self.addresses.get_or_init(|| watch::Sender::new(note.address.map(one).into_iter().collect())).subscribe()
    }

    async fn set_clock(&self, _now: SystemTime) -> Result<(), GuestFault> {
        self.answer("set-clock").await
    }

    async fn add_entropy(&self, _bytes: &[u8]) -> Result<(), GuestFault> {
        self.answer("add-entropy").await
    }

    async fn configure_network(&self, _config: NetworkConfig) -> Result<(), GuestFault> {
        self.answer("configure-network").await
    }

    async fn shutdown(&self, kind: ShutdownKind, _deadline: Duration) -> Result<(), GuestFault> {
        self.answer("shutdown").await?;
        let exit = match kind {
            ShutdownKind::Poweroff => Exit::GuestShutdown,
            ShutdownKind::Reboot => Exit::GuestReboot,
            ShutdownKind::Unknown => return Err(refused()),
        };
        self.shared.end(self.vm, &self.machine, exit).map_err(|error| GuestFault::Broken { detail: error.to_string() })
    }

    async fn closed(&self) -> GuestFault {
        let mut watch = self.watch.clone();
        // An error means that the VM was cleaned away: closed as well.
        let _over = watch.wait_for(|simulation| Self::is_over(self.session, simulation)).await;
        GuestFault::Closed
    }
}
