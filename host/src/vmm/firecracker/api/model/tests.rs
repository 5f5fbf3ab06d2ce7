//! What is refused before it is sent, and the JSON of what is not obvious.

use super::*;
use serde_json::json;

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

#[test]
fn a_device_is_named_by_letters_digits_and_underscores() {
    assert!("root_0".parse::<DeviceId>().is_ok());
    for wrong in ["", "a/b", "a b", "..", "ä", &"x".repeat(65)] {
        assert_eq!(wrong.parse::<DeviceId>(), Err(Invalid::DeviceId { id: wrong.to_owned() }), "{wrong:?}");
    }
    assert!(serde_json::from_value::<DeviceId>(json!("a/b")).is_err());
}

#[test]
fn what_firecracker_would_refuse_is_not_sent() {
    let machine = |vcpu_count, mem_size_mib, smt, huge| MachineConfig {
        vcpu_count,
        mem_size_mib,
        smt,
        track_dirty_pages: false,
        cpu_template: None,
        huge_pages: Some(if huge { HugePages::Of2M } else { HugePages::None }),
    };
    assert_eq!(machine(3, 127, false, false).check(), Ok(()));
    assert_eq!(machine(1, 128, true, true).check(), Ok(()));
    assert_eq!(machine(0, 128, false, false).check(), Err(Invalid::Vcpus { vcpus: 0 }));
    assert_eq!(machine(33, 128, false, false).check(), Err(Invalid::Vcpus { vcpus: 33 }));
    assert_eq!(machine(3, 128, true, false).check(), Err(Invalid::Vcpus { vcpus: 3 }));
    assert_eq!(machine(1, 0, false, false).check(), Err(Invalid::Memory { mem_mib: 0 }));
    assert_eq!(machine(1, 127, false, true).check(), Err(Invalid::Memory { mem_mib: 127 }));

    let bucket = |size, refill_time| TokenBucket { size, one_time_burst: None, refill_time };
    assert_eq!(TokenBucket::NO_LIMIT.check(), Ok(()));
    assert_eq!(TokenBucket::per_second(1).check(), Ok(()));
    assert_eq!(bucket(0, 100).check(), Err(Invalid::Limit));
    assert_eq!(RateLimiter { bandwidth: None, ops: Some(bucket(100, 0)) }.check(), Err(Invalid::Limit));

    assert_eq!(Vsock { guest_cid: 2, uds_path: "v".into() }.check(), Err(Invalid::Cid { cid: 2 }));
    let mmds = |address: &str| MmdsConfig {
        version: MmdsVersion::V2,
        network_interfaces: vec![id("eth0")],
        ipv4_address: Some(address.parse().unwrap()),
        imds_compat: false,
    };
    assert_eq!(mmds("169.254.169.254").check(), Ok(()));
    for address in ["169.254.0.1", "169.254.255.1", "10.0.0.1"] {
        assert_eq!(mmds(address).check(), Err(Invalid::MetadataAddress { address: address.parse().unwrap() }));
    }
    let memory = |total_size_mib, slot: u64, block: u64| HotplugMemory {
        total_size_mib,
        slot_size_mib: Some(slot),
        block_size_mib: Some(block),
    };
    assert_eq!(memory(1024, 128, 2).check(), Ok(()));
    for wrong in [memory(1000, 128, 2), memory(1024, 64, 2), memory(1024, 128, 3), memory(1024, 128, 48), memory(0, 128, 2)] {
        assert!(matches!(wrong.check(), Err(Invalid::Granularity { .. })), "{wrong:?}");
    }
}

#[test]
fn a_drive_says_only_what_its_backing_has() {
    let of = |backing| Drive { drive_id: id("a"), is_root_device: false, partuuid: None, cache_type: None, backing };
    let file = of(Backing::File { path_on_host: "/a".into(), is_read_only: true, io_engine: None, rate_limiter: None });
    let other = of(Backing::VhostUser { socket: "/s".into() });
    let said = json!({ "drive_id": "a", "is_root_device": false, "path_on_host": "/a", "is_read_only": true });
    assert_eq!(serde_json::to_value(&file).unwrap(), said);
    assert_eq!(serde_json::to_value(&other).unwrap(), json!({ "drive_id": "a", "is_root_device": false, "socket": "/s" }));
    // As `/vm/config` gives it: what a backing has not is null.
    let answered = json!({ "drive_id": "a", "partuuid": null, "is_root_device": false, "cache_type": "Unsafe", "is_read_only": null,
        "path_on_host": null, "rate_limiter": null, "io_engine": null, "socket": "/s" });
    let read: Drive = serde_json::from_value(answered).unwrap();
    assert_eq!(read, Drive { cache_type: Some(CacheType::Unsafe), ..other });
}

#[test]
fn a_machine_from_a_snapshot_has_no_boot_source() {
    let config: FullConfig =
        serde_json::from_value(json!({ "boot-source": { "kernel_image_path": "" }, "entropy": null, "new": 1 })).unwrap();
    assert_eq!((config.boot_source, config.machine_config), (None, None));
}
