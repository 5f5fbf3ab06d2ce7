//! Each type of the client against the document: it says all that the document has, and nothing else.

use super::process::{id, skipped};
use fake_firecracker::{document::Document, schema};
use host::vmm::firecracker::api::model::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the client does not say on purpose.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("SnapshotLoadParams", "enable_diff_snapshots", "deprecated: track_dirty_pages"),
    ("SnapshotLoadParams", "mem_file_path", "deprecated: mem_backend"),
    ("Vsock", "vsock_id", "deprecated"),
    ("CpuConfig", "reg_modifiers", "another architecture"),
    ("CpuConfig", "vcpu_features", "another architecture"),
];

fn limiter() -> RateLimiter {
    let bucket = TokenBucket { size: 1 << 40, one_time_burst: Some(5), refill_time: 100 };
    RateLimiter { bandwidth: Some(bucket), ops: Some(TokenBucket::per_second(10)) }
}

/// Each of the document's names with all that our type can say of it; where variants exclude each other, more than one.
fn whole() -> Vec<(&'static str, Vec<Value>)> {
    let said = |value: &dyn erased::Said| vec![value.said()];
    let drive = |backing| Drive {
        drive_id: id("d"),
        is_root_device: true,
        partuuid: Some("1-2".into()),
        cache_type: Some(CacheType::Writeback),
        backing,
    };
    let file = Backing::File {
        path_on_host: "/f".into(),
        is_read_only: false,
        io_engine: Some(IoEngine::Async),
        rate_limiter: Some(limiter()),
    };
    let load = SnapshotLoad {
        snapshot_path: "/s".into(),
        mem_backend: MemoryBackend { backend_type: Backend::Uffd, backend_path: "/u".into() },
        track_dirty_pages: true,
        network_overrides: vec![NetworkOverride { iface_id: id("n"), host_dev_name: "t".into() }],
        vsock_override: Some(VsockOverride { uds_path: "/v".into() }),
        clock_realtime: true,
    };
    let mut load = load.said();
    // Said by the method: a load that resumes leads to another phase.
    load["resume_vm"] = true.into();
    use erased::Said;
    vec![
        (
            "Balloon",
            said(&Balloon {
                amount_mib: 1,
                deflate_on_oom: true,
                stats_polling_interval_s: 1,
                free_page_hinting: true,
                free_page_reporting: true,
            }),
        ),
        (
            "BootSource",
            said(&BootSource { kernel_image_path: "/k".into(), initrd_path: Some("/i".into()), boot_args: Some("a".into()) }),
        ),
        (
            "CpuConfig",
            said(&CpuConfig {
                kvm_capabilities: vec!["!121".into()],
                cpuid_modifiers: vec![CpuidLeaf {
                    leaf: "0x1".into(),
                    subleaf: "0x0".into(),
                    flags: 0,
                    modifiers: vec![CpuidRegister { register: Register::Ecx, bitmap: format!("0b{}", "x".repeat(32)) }],
                }],
                msr_modifiers: vec![Msr { addr: "0x10a".into(), bitmap: format!("0b{}", "0".repeat(64)) }],
            }),
        ),
        ("Drive", vec![drive(file).said(), drive(Backing::VhostUser { socket: "/s".into() }).said()]),
        (
            "PartialDrive",
            said(&DriveUpdate { drive_id: id("d"), path_on_host: Some("/f".into()), rate_limiter: Some(limiter()) }),
        ),
        (
            "Pmem",
            said(&Pmem {
                id: id("p"),
                path_on_host: "/p".into(),
                root_device: true,
                read_only: true,
                rate_limiter: Some(limiter()),
            }),
        ),
        ("PartialPmem", said(&PmemUpdate { id: id("p"), rate_limiter: Some(limiter()) })),
        (
            "Logger",
            said(&Logger {
                log_path: Some("/l".into()),
                level: Some(LogLevel::Warning),
                show_level: true,
                show_log_origin: true,
                module: Some("m".into()),
            }),
        ),
        (
            "MachineConfiguration",
            said(&MachineConfig {
                vcpu_count: 2,
                mem_size_mib: 128,
                smt: true,
                track_dirty_pages: true,
                cpu_template: Some(CpuTemplate::T2CL),
                huge_pages: Some(HugePages::Of2M),
            }),
        ),
        ("MemoryBackend", said(&MemoryBackend { backend_type: Backend::File, backend_path: "/m".into() })),
        ("Metrics", said(&Metrics { metrics_path: "/m".into() })),
        (
            "MmdsConfig",
            said(&MmdsConfig {
                version: MmdsVersion::V2,
                network_interfaces: vec![id("n")],
                ipv4_address: Some([169, 254, 1, 1].into()),
                imds_compat: true,
            }),
        ),
        (
            "NetworkInterface",
            said(&NetworkInterface {
                iface_id: id("n"),
                host_dev_name: "t".into(),
                guest_mac: Some("02:00:00:00:00:01".into()),
                mtu: Some(1500),
                rx_rate_limiter: Some(limiter()),
                tx_rate_limiter: Some(limiter()),
            }),
        ),
        (
            "PartialNetworkInterface",
            said(&NetworkInterfaceUpdate {
                iface_id: id("n"),
                rx_rate_limiter: Some(limiter()),
                tx_rate_limiter: Some(limiter()),
            }),
        ),
        ("RateLimiter", said(&limiter())),
        ("TokenBucket", said(&TokenBucket { size: 1, one_time_burst: Some(1), refill_time: 1 })),
        ("SerialDevice", said(&Serial { serial_out_path: Some("/s".into()), rate_limiter: Some(TokenBucket::per_second(1)) })),
        ("MemoryHotplugConfig", said(&HotplugMemory { total_size_mib: 256, slot_size_mib: Some(128), block_size_mib: Some(2) })),
        (
            "SnapshotCreateParams",
            said(&SnapshotCreate { snapshot_path: "/s".into(), mem_file_path: "/m".into(), snapshot_type: SnapshotType::Diff }),
        ),
        ("SnapshotLoadParams", vec![load]),
        ("NetworkOverride", said(&NetworkOverride { iface_id: id("n"), host_dev_name: "t".into() })),
        ("VsockOverride", said(&VsockOverride { uds_path: "/v".into() })),
        ("Vsock", said(&Vsock { guest_cid: 3, uds_path: "/v".into() })),
    ]
}

mod erased {
    pub trait Said {
        fn said(&self) -> serde_json::Value;
    }
    impl<T: serde::Serialize> Said for T {
        fn said(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

#[test]
fn the_client_says_all_that_the_document_has_and_nothing_else() {
    let path = match Document::find() {
        Ok(path) => path,
        Err(why) => return skipped("the_client_says_all_that_the_document_has_and_nothing_else", &why),
    };
    let document = Document::read(&path).unwrap();
    let definitions: Value =
        document.definitions().map(|(name, schema)| (name.clone(), schema.clone())).collect::<serde_json::Map<_, _>>().into();
    for (name, variants) in whole() {
        let schema = definitions.get(name).unwrap_or_else(|| panic!("the document has no {name}"));
        let mut said = BTreeSet::new();
        for variant in &variants {
            schema::check(variant, &json!({ "$ref": format!("#/definitions/{name}") }), &definitions)
                .unwrap_or_else(|wrong| panic!("{name}: {wrong}: {variant}"));
            said.extend(variant.as_object().unwrap().keys().cloned());
        }
        let left_out = LEFT_OUT.iter().filter(|(of, _, _)| *of == name).map(|(_, field, _)| (*field).to_owned());
        let wanted: BTreeSet<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(said.into_iter().chain(left_out).collect::<BTreeSet<_>>(), wanted, "{name}");
    }
}
