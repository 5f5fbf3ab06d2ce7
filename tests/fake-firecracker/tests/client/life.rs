//! A machine's life by the client: configured, started, changed, paused, taken as a snapshot, loaded again; every operation of the document but
//! the ones named here is said at least once.

use super::process::{Process, id};
use fake_firecracker::{document::Document, vsock::ECHO_PORT};
use host::vmm::firecracker::{
    api::{ApiError, Found, Invalid, Microvm, Paused, Running, Started, model::*},
    vsock,
};
use serde_json::json;
use std::{collections::BTreeSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `PUT` says the same whole.
const NOT_SAID: [&str; 1] = ["PATCH /machine-config"];

fn drive(process: &Process, name: &str, is_root_device: bool) -> Drive {
    let backing = Backing::File {
        path_on_host: process.path(name),
        is_read_only: false,
        io_engine: Some(IoEngine::Sync),
        rate_limiter: Some(RateLimiter { bandwidth: Some(TokenBucket::per_second(1 << 20)), ops: None }),
    };
    Drive { drive_id: id(name), is_root_device, partuuid: None, cache_type: Some(CacheType::Writeback), backing }
}

/// A running machine with one of everything.
async fn started(process: &Process) -> Result<Microvm<Running>, ApiError> {
    let fresh = process.fresh();
    let level = Some(LogLevel::Info);
    fresh.logger(&Logger { log_path: Some(process.path("log")), level, ..Logger::default() }).await?;
    fresh.metrics(&Metrics { metrics_path: process.path("metrics") }).await?;
    let vm = fresh.configure();
    vm.set_machine(&MachineConfig {
        vcpu_count: 2,
        mem_size_mib: 128,
        smt: false,
        track_dirty_pages: true,
        cpu_template: None,
        huge_pages: None,
    })
    .await?;
    vm.set_cpu(&CpuConfig { kvm_capabilities: vec!["!121".into()], ..CpuConfig::default() }).await?;
    vm.set_boot_source(&BootSource {
        kernel_image_path: process.path("kernel"),
        initrd_path: None,
        boot_args: Some("panic=1".into()),
    })
    .await?;
    vm.add_drive(&drive(process, "root", true)).await?;
    vm.add_drive(&drive(process, "data", false)).await?;
    vm.add_pmem(&Pmem {
        id: id("p"),
        path_on_host: process.path("data"),
        root_device: false,
        read_only: true,
        rate_limiter: None,
    })
    .await?;
    let mac = Some("02:00:00:00:00:01".to_owned());
    let interface = NetworkInterface {
        iface_id: id("eth0"),
        host_dev_name: "tap0".into(),
        guest_mac: mac,
        mtu: Some(1500),
        rx_rate_limiter: None,
        tx_rate_limiter: None,
    };
    vm.add_network_interface(&interface).await?;
    vm.set_vsock(&Vsock { guest_cid: 3, uds_path: process.path("v") }).await?;
    let balloon = Balloon {
        amount_mib: 0,
        deflate_on_oom: true,
        stats_polling_interval_s: 1,
        free_page_hinting: true,
        free_page_reporting: false,
    };
    vm.set_balloon(&balloon).await?;
    vm.set_entropy(None).await?;
    vm.set_serial(&Serial { serial_out_path: Some(process.path("console")), rate_limiter: None }).await?;
    vm.set_hotplug_memory(&HotplugMemory { total_size_mib: 256, slot_size_mib: None, block_size_mib: None }).await?;
    let mmds =
        MmdsConfig { version: MmdsVersion::V2, network_interfaces: vec![id("eth0")], ipv4_address: None, imds_compat: true };
    vm.set_mmds_config(&mmds).await?;
    vm.set_metadata(&json!({ "latest": { "meta-data": { "hostname": "web" } } })).await?;
    vm.start().await
}

/// What may change in either phase with a guest.
async fn change<P: Started>(process: &Process, vm: &Microvm<P>) -> Result<(), ApiError> {
    vm.update_drive(&DriveUpdate { drive_id: id("data"), path_on_host: Some(process.path("other")), rate_limiter: None }).await?;
    vm.update_pmem(&PmemUpdate {
        id: id("p"),
        rate_limiter: Some(RateLimiter { bandwidth: None, ops: Some(TokenBucket::NO_LIMIT) }),
    })
    .await?;
    let limit = Some(RateLimiter { bandwidth: Some(TokenBucket::per_second(1_000)), ops: None });
    vm.update_network_interface(&NetworkInterfaceUpdate { iface_id: id("eth0"), rx_rate_limiter: limit, tx_rate_limiter: None })
        .await?;
    vm.update_balloon(32).await?;
    assert_eq!(vm.balloon().await?.amount_mib, 32);
    assert_eq!(vm.balloon_statistics().await?.actual_mib, 32);
    vm.update_balloon_statistics(5).await?;
    vm.start_hinting(true).await?;
    let status = vm.hinting().await?;
    assert_eq!(Some(status.host_cmd), status.guest_cmd);
    vm.stop_hinting().await?;
    vm.plug_memory(128).await?;
    assert_eq!(vm.hotplug_memory().await?.plugged_size_mib, 128);
    vm.merge_metadata(&json!({ "latest": { "meta-data": { "hostname": null, "zone": "a" } } })).await?;
    assert_eq!(vm.metadata().await?, json!({ "latest": { "meta-data": { "zone": "a" } } }));
    vm.replace_metadata(&json!({ "latest": { "meta-data": { "hostname": "web" } } })).await?;
    vm.flush_metrics().await
}

#[tokio::test]
async fn a_machine_lives_by_the_client_alone() {
    let Some(process) = Process::start("a_machine_lives_by_the_client_alone", None) else { return };
    let running = started(&process).await.unwrap();
    assert_eq!(running.info().await.unwrap().state, State::Running);
    let version = running.version().await.unwrap();
    assert_eq!(running.machine_config().await.unwrap().vcpu_count, 2);
    let config = running.full_config().await.unwrap();
    assert_eq!((config.drives.len(), config.pmem.len(), config.network_interfaces.len()), (2, 1, 1));
    assert_eq!(config.drives[0], drive(&process, "root", true));
    change(&process, &running).await.unwrap();
    running.send_ctrl_alt_del().await.unwrap();
    assert_eq!(fs::read_to_string(process.path("metrics")).unwrap().lines().count(), 1);

    let mut echo = vsock::connect(&process.path("v"), ECHO_PORT, Duration::from_secs(20)).await.unwrap();
    echo.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    echo.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    let nobody = vsock::connect(&process.path("v"), ECHO_PORT + 1, Duration::from_secs(20)).await;
    assert!(matches!(nobody, Err(vsock::VsockError::NobodyListens { .. })), "{nobody:?}");

    let paused = running.pause().await.unwrap();
    assert_eq!(paused.info().await.unwrap().state, State::Paused);
    change(&process, &paused).await.unwrap();
    for (number, kind) in [(0, SnapshotType::Full), (1, SnapshotType::Diff)] {
        let (state, memory) = (process.path(&format!("state-{number}")), process.path(&format!("memory-{number}")));
        paused.snapshot(&SnapshotCreate { snapshot_path: state, mem_file_path: memory, snapshot_type: kind }).await.unwrap();
    }
    let running = paused.resume().await.unwrap();
    assert_eq!(running.info().await.unwrap().state, State::Running);
    loaded(&process, &version).await;
}

/// Its own socket and TAP device, in a process of its own.
async fn loaded(process: &Process, version: &str) {
    let snapshot = process.first_snapshot("tap1", "v2");
    let (_ending, fresh) = process.another("api2");
    let paused: Microvm<Paused> = fresh.load(&snapshot).await.unwrap();
    let config = paused.full_config().await.unwrap();
    assert_eq!((config.boot_source, config.network_interfaces[0].host_dev_name.as_str()), (None, "tap1"));
    assert_eq!(paused.metadata().await.unwrap(), json!({ "latest": { "meta-data": { "hostname": "web" } } }));
    assert!(vsock::connect(&process.path("v2"), ECHO_PORT, Duration::from_secs(20)).await.is_ok());

    let (_ending, fresh) = process.another("api3");
    let vsock_override = Some(VsockOverride { uds_path: process.path("v3") });
    let running = fresh.load_and_resume(&SnapshotLoad { vsock_override, ..snapshot.clone() }).await.unwrap();
    assert_eq!((running.info().await.unwrap().state, running.version().await.unwrap().as_str()), (State::Running, version));

    // One that can't be loaded ends its process, whose answer may be lost with it.
    let (mut ending, fresh) = process.another("api4");
    let lost = fresh.load(&SnapshotLoad { snapshot_path: process.path("kernel"), ..snapshot.clone() }).await;
    assert!(matches!(lost, Err(ApiError::Closed { .. } | ApiError::Refused { .. })), "{lost:?}");
    assert!(!ending.0.wait().unwrap().success());

    // After anything of a boot was configured, none is loaded: the types say so, and so does Firecracker to one who adopts.
    let (_ending, fresh) = process.another("api5");
    fresh.configure().set_entropy(None).await.unwrap();
    let late = Microvm::fresh(host::vmm::firecracker::api::Socket::new(process.path("api5"))).load(&snapshot).await;
    let ApiError::Refused { fault, .. } = late.unwrap_err() else { panic!("not refused") };
    assert!(fault.contains("not allowed after configuring boot-specific resources"), "{fault}");
}

#[tokio::test]
async fn a_process_is_found_in_the_phase_that_it_is_in() {
    let Some(process) = Process::start("a_process_is_found_in_the_phase_that_it_is_in", None) else { return };
    assert!(matches!(Found::at(process.socket()).await.unwrap(), Found::NotStarted(_)));
    let running = started(&process).await.unwrap();
    assert!(matches!(Found::at(process.socket()).await.unwrap(), Found::Running(_)));
    running.pause().await.unwrap();
    let Found::Paused(paused) = Found::at(process.socket()).await.unwrap() else { panic!("not paused") };
    paused.resume().await.unwrap();
    assert!(matches!(Found::at(process.socket()).await.unwrap(), Found::Running(_)));
}

#[tokio::test]
async fn refusals_are_firecrackers_own_words() {
    let Some(process) = Process::start("refusals_are_firecrackers_own_words", None) else { return };
    let fault = |error: ApiError| match error {
        ApiError::Refused { fault, .. } => fault,
        other => panic!("{other:?}"),
    };
    let vm = process.fresh().configure();
    let missing = BootSource { kernel_image_path: process.path("no"), initrd_path: None, boot_args: None };
    assert!(fault(vm.set_boot_source(&missing).await.unwrap_err()).contains("kernel file cannot be opened"));
    vm.add_drive(&drive(&process, "root", true)).await.unwrap();
    assert!(fault(vm.add_drive(&drive(&process, "data", true)).await.unwrap_err()).contains("root block device already exists"));
    let mmds =
        MmdsConfig { version: MmdsVersion::V2, network_interfaces: vec![id("eth9")], ipv4_address: None, imds_compat: false };
    assert!(
        fault(vm.set_mmds_config(&mmds).await.unwrap_err()).contains("does not correspond to any existing network interface")
    );
    assert!(fault(vm.set_metadata(&json!({ "a": "x".repeat(60_000) })).await.unwrap_err()).contains("doesn't fit"));
    let error = vm.set_vsock(&Vsock { guest_cid: 1, uds_path: process.path("v") }).await.unwrap_err();
    assert!(matches!(error, ApiError::Invalid(Invalid::Cid { cid: 1 })), "{error:?}");
    let unsayable = PathBuf::from(OsStr::from_bytes(b"/\xff"));
    let error = vm.set_boot_source(&BootSource { kernel_image_path: unsayable, ..missing.clone() }).await.unwrap_err();
    assert!(matches!(error, ApiError::Invalid(Invalid::NoText { call: "PUT /boot-source", .. })), "{error:?}");
    assert!(fault(vm.start().await.unwrap_err()).contains("without kernel configuration"));
    // What a handle of an older phase would say after the start, as one that raced with it.
    let stale = process.fresh().configure();
    stale.set_boot_source(&BootSource { kernel_image_path: process.path("kernel"), ..missing }).await.unwrap();
    process.fresh().configure().start().await.unwrap();
    assert!(fault(stale.set_entropy(None).await.unwrap_err()).contains("not supported after starting the microVM"));
    let Found::Running(running) = Found::at(process.socket()).await.unwrap() else { panic!("not running") };
    assert!(fault(running.balloon_statistics().await.unwrap_err()).contains("No such device"));
}

#[tokio::test]
async fn every_operation_of_the_document_is_said() {
    let Some(process) = Process::start("every_operation_of_the_document_is_said", None) else { return };
    let running = started(&process).await.unwrap();
    running.machine_config().await.unwrap();
    running.full_config().await.unwrap();
    running.version().await.unwrap();
    change(&process, &running).await.unwrap();
    let paused = running.pause().await.unwrap();
    paused.info().await.unwrap();
    let snapshot =
        SnapshotCreate { snapshot_path: process.path("s"), mem_file_path: process.path("m"), snapshot_type: SnapshotType::Full };
    paused.snapshot(&snapshot).await.unwrap();
    let (_ending, fresh) = process.another("api2");
    let mem_backend = MemoryBackend { backend_type: Backend::File, backend_path: process.path("m") };
    let vsock_override = Some(VsockOverride { uds_path: process.path("v2") });
    let load = SnapshotLoad {
        snapshot_path: process.path("s"),
        mem_backend,
        track_dirty_pages: false,
        network_overrides: Vec::new(),
        vsock_override,
        clock_realtime: false,
    };
    fresh.load(&load).await.unwrap();
    let said: BTreeSet<String> = ["api.requests", "api2.requests"]
        .iter()
        .flat_map(|name| fs::read_to_string(process.path(name)).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let document = Document::read(&Document::find().unwrap()).unwrap();
    let wanted: BTreeSet<String> = document.operations().filter(|operation| !NOT_SAID.contains(&operation.as_str())).collect();
    assert_eq!(said, wanted);
}
