//! What may be said in which phase. Each method is one line of the API document; its doc says only what that does not.

use super::{
    ApiError, Socket,
    exchange::{Call, json},
    model::{
        Balloon, BalloonStatistics, BootSource, Check, CpuConfig, Drive, DriveUpdate, FullConfig, HintingStatus, HotplugMemory,
        HotplugStatus, InstanceInfo, Logger, MachineConfig, Metrics, MmdsConfig, NetworkInterface, NetworkInterfaceUpdate, Pmem,
        PmemUpdate, RateLimiter, Serial, SnapshotCreate, SnapshotLoad, State, Version, Vsock,
    },
};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use std::{marker::PhantomData, time::Duration};

/// Nothing of these waits for a guest or a disk.
const QUICK: Duration = Duration::from_secs(5);
/// Memory is mapped, the kernel read, devices opened: 0.9 s under emulation; forty at once take their time.
const START: Duration = Duration::from_secs(30);
/// vCPUs and devices come to rest: 12 to 17 ms were seen.
const PAUSE: Duration = Duration::from_secs(10);
/// All memory is written: 32 GiB on a disk of 100 MB/s.
const SNAPSHOT: Duration = Duration::from_secs(600);
/// The state is read and memory mapped; with huge pages it is also filled.
const LOAD: Duration = Duration::from_secs(60);

/// A process nothing was said to: it is configured or it loads a snapshot.
#[derive(Debug)]
pub struct Fresh(());
/// Before its start.
#[derive(Debug)]
pub struct Configuring(());
/// The guest runs.
#[derive(Debug)]
pub struct Running(());
/// The guest stands still.
#[derive(Debug)]
pub struct Paused(());

/// The phases in which there is a guest.
pub trait Started: sealed::Sealed {}
impl Started for Running {}
impl Started for Paused {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Running {}
    impl Sealed for super::Paused {}
}

/// A process in the phase `P`. Holds no connection: dropping it changes nothing.
#[derive(Debug)]
pub struct Microvm<P> {
    socket: Socket,
    phase: PhantomData<P>,
}

/// A process of which only the socket was known.
#[derive(Debug)]
pub enum Found {
    /// It may have been configured in part: what was said is to be said again, which replaces it.
    NotStarted(Microvm<Configuring>),
    Running(Microvm<Running>),
    Paused(Microvm<Paused>),
}

impl Found {
    /// Asks a process for its phase.
    pub async fn at(socket: Socket) -> Result<Self, ApiError> {
        let found = Microvm::<()> { socket, phase: PhantomData };
        Ok(match found.info().await?.state {
            State::NotStarted => Self::NotStarted(found.now()),
            State::Running => Self::Running(found.now()),
            State::Paused => Self::Paused(found.now()),
        })
    }
}

fn call(name: &'static str, method: Method, path: impl Into<String>) -> Call {
    Call { name, method, path: path.into(), deadline: QUICK }
}

impl<P> Microvm<P> {
    fn now<Q>(self) -> Microvm<Q> {
        Microvm { socket: self.socket, phase: PhantomData }
    }

    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub async fn info(&self) -> Result<InstanceInfo, ApiError> {
        self.socket.ask(&call("GET /", Method::GET, "/"), None).await
    }

    pub async fn version(&self) -> Result<String, ApiError> {
        let version: Version = self.socket.ask(&call("GET /version", Method::GET, "/version"), None).await?;
        Ok(version.firecracker_version)
    }

    pub async fn full_config(&self) -> Result<FullConfig, ApiError> {
        self.socket.ask(&call("GET /vm/config", Method::GET, "/vm/config"), None).await
    }

    pub async fn machine_config(&self) -> Result<MachineConfig, ApiError> {
        self.socket.ask(&call("GET /machine-config", Method::GET, "/machine-config"), None).await
    }

    async fn say(&self, call: Call, body: &impl Serialize) -> Result<(), ApiError> {
        let body = json(call.name, body)?;
        self.socket.tell(&call, Some(body)).await
    }

    async fn put(&self, name: &'static str, path: impl Into<String>, body: &impl Serialize) -> Result<(), ApiError> {
        self.say(call(name, Method::PUT, path), body).await
    }

    async fn patch(&self, name: &'static str, path: impl Into<String>, body: &impl Serialize) -> Result<(), ApiError> {
        self.say(call(name, Method::PATCH, path), body).await
    }

    async fn act(&self, name: &'static str, action: &str, deadline: Duration) -> Result<(), ApiError> {
        let call = Call { deadline, ..call(name, Method::PUT, "/actions") };
        self.say(call, &json!({ "action_type": action })).await
    }
}

impl Microvm<Fresh> {
    /// For a process that was just started by the caller, to whom nothing was said. Asks nothing.
    #[must_use]
    pub fn fresh(socket: Socket) -> Self {
        Self { socket, phase: PhantomData }
    }

    /// Once a process.
    pub async fn logger(&self, logger: &Logger) -> Result<(), ApiError> {
        self.put("PUT /logger", "/logger", logger).await
    }

    /// Once a process.
    pub async fn metrics(&self, metrics: &Metrics) -> Result<(), ApiError> {
        self.put("PUT /metrics", "/metrics", metrics).await
    }

    #[must_use]
    pub fn configure(self) -> Microvm<Configuring> {
        self.now()
    }

    /// The machine of a snapshot, standing still.
    pub async fn load(self, snapshot: &SnapshotLoad) -> Result<Microvm<Paused>, ApiError> {
        self.load_as(snapshot, false).await?;
        Ok(self.now())
    }

    /// The machine of a snapshot, running: one exchange less than `load` and `resume`.
    pub async fn load_and_resume(self, snapshot: &SnapshotLoad) -> Result<Microvm<Running>, ApiError> {
        self.load_as(snapshot, true).await?;
        Ok(self.now())
    }

    async fn load_as(&self, snapshot: &SnapshotLoad, resume_vm: bool) -> Result<(), ApiError> {
        #[derive(Serialize)]
        struct Load<'a> {
            #[serde(flatten)]
            snapshot: &'a SnapshotLoad,
            resume_vm: bool,
        }
        let call = Call { deadline: LOAD, ..call("PUT /snapshot/load", Method::PUT, "/snapshot/load") };
        self.say(call, &Load { snapshot, resume_vm }).await
    }
}

/// In any order, but for what names another: interfaces before `mmds_config`, machine before `balloon`.
impl Microvm<Configuring> {
    pub async fn set_machine(&self, machine: &MachineConfig) -> Result<(), ApiError> {
        machine.check()?;
        self.put("PUT /machine-config", "/machine-config", machine).await
    }

    pub async fn set_cpu(&self, cpu: &CpuConfig) -> Result<(), ApiError> {
        self.put("PUT /cpu-config", "/cpu-config", cpu).await
    }

    pub async fn set_boot_source(&self, source: &BootSource) -> Result<(), ApiError> {
        self.put("PUT /boot-source", "/boot-source", source).await
    }

    pub async fn add_drive(&self, drive: &Drive) -> Result<(), ApiError> {
        drive.check()?;
        self.put("PUT /drives", format!("/drives/{}", drive.drive_id), drive).await
    }

    pub async fn add_pmem(&self, pmem: &Pmem) -> Result<(), ApiError> {
        pmem.check()?;
        self.put("PUT /pmem", format!("/pmem/{}", pmem.id), pmem).await
    }

    pub async fn add_network_interface(&self, interface: &NetworkInterface) -> Result<(), ApiError> {
        interface.check()?;
        self.put("PUT /network-interfaces", format!("/network-interfaces/{}", interface.iface_id), interface).await
    }

    pub async fn set_vsock(&self, vsock: &Vsock) -> Result<(), ApiError> {
        vsock.check()?;
        self.put("PUT /vsock", "/vsock", vsock).await
    }

    pub async fn set_balloon(&self, balloon: &Balloon) -> Result<(), ApiError> {
        self.put("PUT /balloon", "/balloon", balloon).await
    }

    pub async fn set_entropy(&self, rate_limiter: Option<RateLimiter>) -> Result<(), ApiError> {
        if let Some(limiter) = &rate_limiter {
            limiter.check()?;
        }
        let body = rate_limiter.map_or_else(|| json!({}), |limiter| json!({ "rate_limiter": limiter }));
        self.put("PUT /entropy", "/entropy", &body).await
    }

    pub async fn set_serial(&self, serial: &Serial) -> Result<(), ApiError> {
        serial.check()?;
        self.put("PUT /serial", "/serial", serial).await
    }

    pub async fn set_hotplug_memory(&self, memory: &HotplugMemory) -> Result<(), ApiError> {
        memory.check()?;
        self.put("PUT /hotplug/memory", "/hotplug/memory", memory).await
    }

    pub async fn set_mmds_config(&self, config: &MmdsConfig) -> Result<(), ApiError> {
        config.check()?;
        self.put("PUT /mmds/config", "/mmds/config", config).await
    }

    /// Replaces all of it. An object.
    pub async fn set_metadata(&self, metadata: &Value) -> Result<(), ApiError> {
        self.put("PUT /mmds", "/mmds", metadata).await
    }

    pub async fn start(self) -> Result<Microvm<Running>, ApiError> {
        self.act("InstanceStart", "InstanceStart", START).await?;
        Ok(self.now())
    }
}

/// What changes while there is a guest.
impl<P: Started> Microvm<P> {
    pub async fn update_drive(&self, update: &DriveUpdate) -> Result<(), ApiError> {
        update.check()?;
        self.patch("PATCH /drives", format!("/drives/{}", update.drive_id), update).await
    }

    pub async fn update_pmem(&self, update: &PmemUpdate) -> Result<(), ApiError> {
        update.check()?;
        self.patch("PATCH /pmem", format!("/pmem/{}", update.id), update).await
    }

    pub async fn update_network_interface(&self, update: &NetworkInterfaceUpdate) -> Result<(), ApiError> {
        update.check()?;
        self.patch("PATCH /network-interfaces", format!("/network-interfaces/{}", update.iface_id), update).await
    }

    /// The guest gives back or takes in its own time: see the statistics.
    pub async fn update_balloon(&self, amount_mib: u32) -> Result<(), ApiError> {
        self.patch("PATCH /balloon", "/balloon", &json!({ "amount_mib": amount_mib })).await
    }

    pub async fn balloon(&self) -> Result<Balloon, ApiError> {
        self.socket.ask(&call("GET /balloon", Method::GET, "/balloon"), None).await
    }

    pub async fn balloon_statistics(&self) -> Result<BalloonStatistics, ApiError> {
        self.socket.ask(&call("GET /balloon/statistics", Method::GET, "/balloon/statistics"), None).await
    }

    /// Only from one number above 0 to another: statistics are on or off from the start.
    pub async fn update_balloon_statistics(&self, polling_interval_s: u16) -> Result<(), ApiError> {
        let body = json!({ "stats_polling_interval_s": polling_interval_s });
        self.patch("PATCH /balloon/statistics", "/balloon/statistics", &body).await
    }

    /// `acknowledge_on_stop`: the guest may use the hinted pages again when it has named all.
    pub async fn start_hinting(&self, acknowledge_on_stop: bool) -> Result<(), ApiError> {
        let body = json!({ "acknowledge_on_stop": acknowledge_on_stop });
        self.patch("PATCH /balloon/hinting/start", "/balloon/hinting/start", &body).await
    }

    pub async fn hinting(&self) -> Result<HintingStatus, ApiError> {
        self.socket.ask(&call("GET /balloon/hinting/status", Method::GET, "/balloon/hinting/status"), None).await
    }

    pub async fn stop_hinting(&self) -> Result<(), ApiError> {
        self.socket.tell(&call("PATCH /balloon/hinting/stop", Method::PATCH, "/balloon/hinting/stop"), None).await
    }

    pub async fn plug_memory(&self, requested_size_mib: u64) -> Result<(), ApiError> {
        let body = json!({ "requested_size_mib": requested_size_mib });
        self.patch("PATCH /hotplug/memory", "/hotplug/memory", &body).await
    }

    pub async fn hotplug_memory(&self) -> Result<HotplugStatus, ApiError> {
        self.socket.ask(&call("GET /hotplug/memory", Method::GET, "/hotplug/memory"), None).await
    }

    /// Replaces all of it. An object.
    pub async fn replace_metadata(&self, metadata: &Value) -> Result<(), ApiError> {
        self.put("PUT /mmds", "/mmds", metadata).await
    }

    /// By RFC 7396: `null` takes a key away.
    pub async fn merge_metadata(&self, patch: &Value) -> Result<(), ApiError> {
        self.patch("PATCH /mmds", "/mmds", patch).await
    }

    pub async fn metadata(&self) -> Result<Value, ApiError> {
        self.socket.ask(&call("GET /mmds", Method::GET, "/mmds"), None).await
    }

    /// One line of metrics now.
    pub async fn flush_metrics(&self) -> Result<(), ApiError> {
        self.act("FlushMetrics", "FlushMetrics", QUICK).await
    }
}

impl Microvm<Running> {
    /// Asks a guest with a keyboard driver to end (x86). Our agent is the better way.
    pub async fn send_ctrl_alt_del(&self) -> Result<(), ApiError> {
        self.act("SendCtrlAltDel", "SendCtrlAltDel", QUICK).await
    }

    pub async fn pause(self) -> Result<Microvm<Paused>, ApiError> {
        let call = Call { deadline: PAUSE, ..call("PATCH /vm", Method::PATCH, "/vm") };
        self.say(call, &json!({ "state": "Paused" })).await?;
        Ok(self.now())
    }
}

impl Microvm<Paused> {
    pub async fn resume(self) -> Result<Microvm<Running>, ApiError> {
        let call = Call { deadline: PAUSE, ..call("PATCH /vm", Method::PATCH, "/vm") };
        self.say(call, &json!({ "state": "Resumed" })).await?;
        Ok(self.now())
    }

    /// Both files are whole and in the page cache when this returns; they are on the disk when the caller has synced them.
    pub async fn snapshot(&self, snapshot: &SnapshotCreate) -> Result<(), ApiError> {
        let call = Call { deadline: SNAPSHOT, ..call("PUT /snapshot/create", Method::PUT, "/snapshot/create") };
        self.say(call, snapshot).await
    }
}
