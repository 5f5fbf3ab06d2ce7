//! The session of a guest that is not there: says hello at once, answers what needs no guest, refuses the rest.

use super::{
    notes::Phase,
    outside,
    table::{Entry, Run, Shared},
};
use crate::guest::{Connection, ExecSession, GuestFault, GuestInfo, GuestSession, REQUEST_TIMEOUT};
use crate::vmm::mac_text;
use api::guest::{
    CpuTimes, DiskCounters, ErrorCode, ExecRequest, GuestError, InterfaceAddress, InterfaceAddresses, Memory, MetricsSample,
    NetworkConfig, NetworkCounters, Processes, ShutdownKind,
};
use async_trait::async_trait;
use domain::{VmId, vm::Exit};
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
    run: Run,
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
    pub(super) fn new(shared: Arc<Shared>, vm: VmId, run: Run, session: u64) -> Self {
        let (metrics, addresses) = (OnceLock::new(), OnceLock::new());
        Self { shared, vm, run, session, since: Instant::now(), metrics, addresses, pace: Mutex::new(None) }
    }

    fn keep_pace(&self, pace: Option<AbortHandle>) {
        if let Some(older) = std::mem::replace(&mut *self.pace.lock().unwrap_or_else(PoisonError::into_inner), pace) {
            older.abort();
        }
    }

    /// What `see` makes of the VM as long as this session lasts.
    fn look<T>(&self, see: impl FnOnce(&Entry) -> T) -> Option<T> {
        look(&self.shared, self.vm, self.run, self.session, see)
    }

    /// A paused guest answers nothing; waits for it as a real session would.
    async fn answer(&self, request: &'static str) -> Result<(), GuestFault> {
        let ready = || match self.look(|entry| entry.phase == Phase::Running) {
            None => Some(Err(GuestFault::Closed)),
            Some(true) => Some(Ok(())),
            Some(false) => None,
        };
        let timeout = GuestFault::Timeout { request, after_ms: REQUEST_TIMEOUT.as_millis() as u64 };
        tokio::time::timeout(REQUEST_TIMEOUT, self.shared.until(ready)).await.unwrap_or(Err(timeout))
    }

    /// The addresses that the plan gave, as the agent would report them.
    fn planned(&self) -> Vec<InterfaceAddresses> {
        let one = |(index, (mac, (address, prefix))): (usize, ([u8; 6], (std::net::Ipv4Addr, u8)))| InterfaceAddresses {
            interface: format!("eth{index}"),
            mac: mac_text(mac),
            addresses: vec![InterfaceAddress { address: address.into(), prefix }],
        };
        self.look(|entry| entry.note.nics().enumerate().map(one).collect()).unwrap_or_default()
    }
}

/// `None` once the session is over: a newer one began, or the machine is gone.
fn look<T>(shared: &Shared, vm: VmId, run: Run, session: u64, see: impl FnOnce(&Entry) -> T) -> Option<T> {
    let lasts = |entry: &Entry| entry.session == session && !matches!(entry.phase, Phase::Gone(_));
    shared.look(vm, run, |entry| lasts(entry).then(|| see(entry))).flatten()
}

/// Made up from the plan: a quarter of the memory in use, every CPU idle; disk and network as they are seen from outside.
fn sample(entry: &Entry, since: Instant) -> MetricsSample {
    let note = &entry.note;
    let disks = outside::drives(entry.since).into_iter().map(|drive| DiskCounters {
        name: "vda".into(),
        reads: drive.reads,
        read_bytes: drive.read_bytes,
        writes: drive.writes,
        write_bytes: drive.written_bytes,
    });
    let networks = outside::interfaces(note, entry.since).into_iter().map(|interface| NetworkCounters {
        name: interface.name,
        received_bytes: interface.received_bytes,
        received_packets: interface.received_packets,
        sent_bytes: interface.sent_bytes,
        sent_packets: interface.sent_packets,
        ..NetworkCounters::default()
    });
    let uptime_ms = since.elapsed().as_millis() as u64;
    let total_bytes = u64::from(note.mem_mib) * MIB;
    let cpus = note.vcpus;
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
        disks: disks.collect(),
        networks: networks.collect(),
        ..MetricsSample::default()
    }
}

fn refused() -> GuestFault {
    GuestFault::Refused(GuestError::new(ErrorCode::Unsupported, "the simulated driver has no guest"))
}

#[async_trait]
impl GuestSession for SimulatedGuest {
    fn info(&self) -> GuestInfo {
        let (start_ticks, hostname) =
            self.look(|entry| (entry.note.start_ticks, entry.note.hostname.clone())).unwrap_or_default();
        GuestInfo {
            agent_version: "simulated".into(),
            generation: 1,
            kernel_release: "simulated".into(),
            boot_id: format!("simulated-{start_ticks:016x}"),
            hostname,
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

    async fn connect(&self, _port: u16) -> Result<Connection, GuestFault> {
        self.answer("connect").await?;
        Err(refused())
    }

    fn metrics(&self) -> watch::Receiver<Option<MetricsSample>> {
        let sender = self.metrics.get_or_init(|| watch::Sender::new(None));
        if let Some(sample) = self.look(|entry| sample(entry, self.since)) {
            sender.send_replace(Some(sample));
        }
        sender.subscribe()
    }

    async fn metrics_interval(&self, interval: Option<Duration>) -> Result<(), GuestFault> {
        self.answer("subscribe-metrics").await?;
        // Without a pace nothing ticks: the sample is as old as the last look.
        let pace = interval.map(|interval| {
            let sender = self.metrics.get_or_init(|| watch::Sender::new(None)).clone();
            let (shared, vm, run) = (Arc::clone(&self.shared), self.vm, self.run);
            let (since, session) = (self.since, self.session);
            let mut tick = tokio::time::interval(interval.max(QUICKEST_PACE));
            tokio::spawn(async move {
                loop {
                    tick.tick().await;
                    let Some(sample) = look(&shared, vm, run, session, |entry| sample(entry, since)) else { return };
                    sender.send_replace(Some(sample));
                }
            })
            .abort_handle()
        });
        self.keep_pace(pace);
        Ok(())
    }

    fn addresses(&self) -> watch::Receiver<Vec<InterfaceAddresses>> {
        self.addresses.get_or_init(|| watch::Sender::new(self.planned())).subscribe()
    }

    fn reported_addresses(&self) -> Vec<InterfaceAddresses> {
        self.planned()
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
        self.shared.end(self.vm, self.run, exit).map_err(|error| GuestFault::Broken { detail: error.to_string() })
    }

    async fn closed(&self) -> GuestFault {
        self.shared.until(|| self.look(|_| ()).is_none().then_some(GuestFault::Closed)).await
    }
}
