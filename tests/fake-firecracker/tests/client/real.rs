//! The client against a real Firecracker: all that needs no word of the guest. Where a KVM's guests hang, Firecracker still does as it is told.

use super::process::{Process, id};
use host::vmm::firecracker::api::{ApiError, Found, Microvm, Running, model::*};
use serde_json::json;
use std::{fs, os::unix::fs::FileExt, process::Command};

/// A TAP device in the network of the test, gone with it.
struct Tap(&'static str);

impl Tap {
    fn new(name: &'static str) -> Self {
        ip(&["tuntap", "add", name, "mode", "tap"]);
        Tap(name)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        ip(&["link", "del", self.0]);
    }
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

async fn started(process: &Process) -> Result<Microvm<Running>, ApiError> {
    let fresh = process.fresh();
    let level = Some(LogLevel::Info);
    fresh.logger(&Logger { log_path: Some(process.path("log")), level, show_level: true, ..Logger::default() }).await?;
    fresh.metrics(&Metrics { metrics_path: process.path("metrics") }).await?;
    let vm = fresh.configure();
    let machine = MachineConfig {
        vcpu_count: 1,
        mem_size_mib: 128,
        smt: false,
        track_dirty_pages: true,
        cpu_template: None,
        huge_pages: Some(HugePages::None),
    };
    vm.set_machine(&machine).await?;
    let boot_args = Some("console=ttyS0 reboot=k panic=1".to_owned());
    vm.set_boot_source(&BootSource { kernel_image_path: process.path("kernel"), initrd_path: None, boot_args }).await?;
    for (name, is_root_device) in [("root", true), ("data", false)] {
        let rate_limiter =
            Some(RateLimiter { bandwidth: Some(TokenBucket::per_second(1 << 20)), ops: Some(TokenBucket::per_second(100)) });
        let backing = Backing::File {
            path_on_host: process.path(name),
            is_read_only: false,
            io_engine: Some(IoEngine::Sync),
            rate_limiter,
        };
        let cache_type = Some(CacheType::Writeback);
        vm.add_drive(&Drive { drive_id: id(name), is_root_device, partuuid: None, cache_type, backing }).await?;
    }
    let interface = NetworkInterface {
        iface_id: id("eth0"),
        host_dev_name: "fctest0".into(),
        guest_mac: Some("02:00:00:00:00:01".into()),
        mtu: None,
        rx_rate_limiter: None,
        tx_rate_limiter: Some(RateLimiter { bandwidth: Some(TokenBucket::per_second(1 << 20)), ops: None }),
    };
    vm.add_network_interface(&interface).await?;
    vm.set_vsock(&Vsock { guest_cid: 3, uds_path: process.path("v") }).await?;
    let balloon = Balloon {
        amount_mib: 0,
        deflate_on_oom: true,
        stats_polling_interval_s: 1,
        free_page_hinting: false,
        free_page_reporting: false,
    };
    vm.set_balloon(&balloon).await?;
    vm.set_entropy(Some(RateLimiter { bandwidth: Some(TokenBucket::per_second(4096)), ops: None })).await?;
    vm.set_serial(&Serial {
        serial_out_path: Some(process.path("console")),
        rate_limiter: Some(TokenBucket::per_second(1 << 20)),
    })
    .await?;
    let mmds =
        MmdsConfig { version: MmdsVersion::V2, network_interfaces: vec![id("eth0")], ipv4_address: None, imds_compat: true };
    vm.set_mmds_config(&mmds).await?;
    vm.set_metadata(&json!({ "latest": { "meta-data": { "hostname": "web" } } })).await?;
    vm.start().await
}

#[tokio::test]
async fn a_real_firecracker_takes_all_that_the_client_says() {
    let Some(process) = Process::real("a_real_firecracker_takes_all_that_the_client_says") else { return };
    let (_tap, _other) = (Tap::new("fctest0"), Tap::new("fctest1"));
    let running = started(&process).await.unwrap();
    assert_eq!(running.info().await.unwrap().state, State::Running);
    let config = running.full_config().await.unwrap();
    assert_eq!((config.drives.len(), config.network_interfaces.len(), config.vsock.unwrap().guest_cid), (2, 1, 3));
    running
        .update_drive(&DriveUpdate { drive_id: id("data"), path_on_host: Some(process.path("other")), rate_limiter: None })
        .await
        .unwrap();
    let limit = Some(RateLimiter { bandwidth: Some(TokenBucket::NO_LIMIT), ops: None });
    running
        .update_network_interface(&NetworkInterfaceUpdate {
            iface_id: id("eth0"),
            rx_rate_limiter: limit,
            tx_rate_limiter: limit,
        })
        .await
        .unwrap();
    running.merge_metadata(&json!({ "latest": { "meta-data": { "zone": "a" } } })).await.unwrap();
    assert_eq!(running.metadata().await.unwrap()["latest"]["meta-data"], json!({ "hostname": "web", "zone": "a" }));
    assert_eq!(running.balloon().await.unwrap().stats_polling_interval_s, 1);
    running.flush_metrics().await.unwrap();
    assert!(fs::read_to_string(process.path("metrics")).unwrap().contains("utc_timestamp_ms"));

    let paused = running.pause().await.unwrap();
    assert!(matches!(Found::at(process.socket()).await.unwrap(), Found::Paused(_)));
    for (number, snapshot_type) in [(0, SnapshotType::Full), (1, SnapshotType::Diff)] {
        let (snapshot_path, mem_file_path) =
            (process.path(&format!("state-{number}")), process.path(&format!("memory-{number}")));
        paused.snapshot(&SnapshotCreate { snapshot_path, mem_file_path, snapshot_type }).await.unwrap();
    }
    assert_eq!(fs::metadata(process.path("memory-0")).unwrap().len(), 128 << 20);
    let running = paused.resume().await.unwrap();
    assert_eq!(running.info().await.unwrap().state, State::Running);

    let snapshot = process.first_snapshot("fctest1", "v2");
    let (_ending, fresh) = process.another("api2");
    let loaded = fresh.load(&snapshot).await.unwrap();
    assert_eq!(loaded.full_config().await.unwrap().network_interfaces[0].host_dev_name, "fctest1");
    let loaded = loaded.resume().await.unwrap();
    assert_eq!(loaded.info().await.unwrap().state, State::Running);
}

#[tokio::test]
async fn a_real_firecracker_refuses_in_the_words_that_are_read() {
    let Some(process) = Process::real("a_real_firecracker_refuses_in_the_words_that_are_read") else { return };
    let fault = |error: ApiError| match error {
        ApiError::Refused { fault, .. } => fault,
        other => panic!("{other:?}"),
    };
    let vm = process.fresh().configure();
    assert!(fault(vm.start().await.unwrap_err()).contains("kernel"));
    let Found::NotStarted(vm) = Found::at(process.socket()).await.unwrap() else { panic!("started") };
    let missing = BootSource { kernel_image_path: process.path("no"), initrd_path: None, boot_args: None };
    assert!(fault(vm.set_boot_source(&missing).await.unwrap_err()).contains("kernel file cannot be opened"));
    // A snapshot that is none ends the process.
    let file = fs::File::create(process.path("nothing")).unwrap();
    file.write_all_at(&[7; 4096], 0).unwrap();
    let load = SnapshotLoad {
        snapshot_path: process.path("nothing"),
        mem_backend: MemoryBackend { backend_type: Backend::File, backend_path: process.path("nothing") },
        track_dirty_pages: false,
        network_overrides: Vec::new(),
        vsock_override: None,
        clock_realtime: false,
    };
    let (mut ending, fresh) = process.another("api2");
    let lost = fresh.load(&load).await.unwrap_err();
    assert!(matches!(lost, ApiError::Closed { .. } | ApiError::Refused { .. }), "{lost:?}");
    assert!(!ending.0.wait().unwrap().success());
}
