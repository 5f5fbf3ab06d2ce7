//! What is asked of a VM's devices: taken, shown, changed field by field, and refused by the field where it can't be.

use crate::bench::{Answer, Bench};
use domain::host::Capabilities;
use serde_json::{Value, json};

async fn made(bench: &Bench, start: bool, devices: &Value) -> Answer {
    let mut vm = bench.vm("a");
    vm["start"] = json!(start);
    for (field, value) in devices.as_object().unwrap() {
        vm["spec"][field] = value.clone();
    }
    bench.post("/v1/vms?wait=30", &vm).await
}

async fn patched(bench: &Bench, spec: &Value) -> Answer {
    bench.ask("PATCH", "/v1/vms/a", &[("content-type", "application/json")], json!({ "spec": spec }).to_string()).await
}

async fn stopped(bench: &Bench) {
    let answer = bench.post("/v1/vms/a/stop?wait=30", &json!({ "force": true })).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_balloon_are_shown_as_asked_and_change_while_it_runs() {
    let bench = Bench::with_images().await;
    let answer =
        made(&bench, true, &json!({ "rate_limits": { "disk_mib_per_s": 100, "rx_mbit_per_s": 50 }, "balloon_mib": 8 })).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let spec = bench.get("/v1/vms/a").await.body["spec"].clone();
    assert_eq!(spec["rate_limits"], json!({ "disk_mib_per_s": 100, "rx_mbit_per_s": 50 }));
    assert_eq!((&spec["balloon_mib"], spec.get("cpu_template")), (&json!(8), None));
    let change = json!({ "rate_limits": { "disk_mib_per_s": null, "tx_mbit_per_s": 7 }, "balloon_mib": 0 });
    let changed = patched(&bench, &change).await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.body);
    let vm = bench.get("/v1/vms/a").await.body;
    assert_eq!(vm["spec"]["rate_limits"], json!({ "rx_mbit_per_s": 50, "tx_mbit_per_s": 7 }));
    assert_eq!((vm["spec"].get("balloon_mib"), &vm["status"]["state"]), (None, &json!("running")));
    assert_eq!(vm["status"].get("reason"), None);
    assert_eq!(vm["generation"], changed.body["generation"], "that it holds is no change of its own: the ETag is good");
    let answer = patched(&bench, &json!({ "rate_limits": null })).await;
    assert_eq!((answer.status.as_u16(), answer.body["spec"].get("rate_limits")), (200, None), "{}", answer.body);
}

/// Each is possible with what the VM was, and both together are not.
#[tokio::test(flavor = "multi_thread")]
async fn two_changes_at_once_make_nothing_impossible() {
    let bench = Bench::with_images().await;
    let mut vm = bench.vm("a");
    vm["spec"]["mem_mib"] = json!(1024);
    assert_eq!(bench.post("/v1/vms?wait=30", &vm).await.status.as_u16(), 200);
    for _ in 0..20 {
        let (smaller, more) = (json!({ "mem_mib": 128 }), json!({ "balloon_mib": 900 }));
        let (smaller, more) = tokio::join!(patched(&bench, &smaller), patched(&bench, &more));
        let statuses = [smaller.status.as_u16(), more.status.as_u16()];
        assert!(statuses.contains(&200) && statuses.contains(&422), "{statuses:?}");
        assert_eq!(patched(&bench, &json!({ "mem_mib": 1024, "balloon_mib": 0 })).await.status.as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_by_its_field() {
    let bench = Bench::with_images().await;
    for (devices, field) in [
        (json!({ "rate_limits": { "disk_mib_per_s": 0 } }), "spec.rate_limits.disk_mib_per_s"),
        (json!({ "rate_limits": { "tx_mbit_per_s": 1_000_001 } }), "spec.rate_limits.tx_mbit_per_s"),
        (json!({ "balloon_mib": 100_000 }), "spec.balloon_mib"),
    ] {
        made(&bench, false, &devices).await.refuses(422, "invalid-spec", field);
    }
    let alone = json!({ "networks": [], "rate_limits": { "rx_mbit_per_s": 1 } });
    made(&bench, false, &alone).await.refuses(422, "invalid-spec", "spec.rate_limits.rx_mbit_per_s");
    // The simulated driver has none.
    made(&bench, false, &json!({ "cpu_template": "t2" })).await.refuses(422, "unsupported-by-driver", "spec.cpu_template");
    assert_eq!(made(&bench, false, &json!({ "cpu_template": "t9" })).await.status.as_u16(), 400);
    assert_eq!(made(&bench, false, &json!({ "rate_limits": { "disk": 1 } })).await.status.as_u16(), 400);
    assert_eq!(bench.get("/v1/vms").await.body["items"], json!([]), "a refusal leaves nothing");
    assert_eq!(made(&bench, false, &json!({})).await.status.as_u16(), 200);
    patched(&bench, &json!({ "cpu_template": "t2" })).await.refuses(422, "unsupported-by-driver", "spec.cpu_template");
    patched(&bench, &json!({ "rate_limits": { "rx_mbit_per_s": 0 } })).await.refuses(
        422,
        "invalid-spec",
        "spec.rate_limits.rx_mbit_per_s",
    );
    assert_eq!(patched(&bench, &json!({ "cpu_template": null })).await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_without_a_network_has_no_limit_of_it() {
    let bench = Bench::with_images().await;
    let asked = json!({ "networks": [], "rate_limits": { "disk_mib_per_s": 9 } });
    assert_eq!(made(&bench, false, &asked).await.status.as_u16(), 200);
    let refused = patched(&bench, &json!({ "rate_limits": { "tx_mbit_per_s": 7 } })).await;
    refused.refuses(422, "invalid-spec", "spec.rate_limits.tx_mbit_per_s");
    assert!(refused.body.to_string().contains("give the VM a network"), "{}", refused.body);
    assert_eq!(bench.get("/v1/vms/a").await.body["spec"]["rate_limits"], json!({ "disk_mib_per_s": 9 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_without_limits_says_so_by_the_field() {
    let bench = Bench::able(Capabilities { cpu_templates: true, ..Capabilities::NONE }).await;
    for (devices, field) in [
        (json!({ "rate_limits": { "disk_ops_per_s": 1 } }), "spec.rate_limits.disk_ops_per_s"),
        (json!({ "rate_limits": { "rx_mbit_per_s": 1 } }), "spec.rate_limits.rx_mbit_per_s"),
        (json!({ "balloon_mib": 1 }), "spec.balloon_mib"),
    ] {
        let refused = made(&bench, false, &devices).await;
        refused.refuses(422, "unsupported-by-driver", field);
        assert!(refused.body["detail"].as_str().unwrap().contains("the simulated driver"), "{}", refused.body);
    }
    assert_eq!(made(&bench, false, &json!({ "cpu_template": "t2s" })).await.status.as_u16(), 200);
    assert_eq!(bench.get("/v1/vms/a").await.body["spec"]["cpu_template"], "t2s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_grows_also_while_it_runs_and_never_shrinks() {
    let bench = Bench::with_images().await;
    assert_eq!(made(&bench, true, &json!({ "disk_mib": 200 })).await.status.as_u16(), 200);
    for larger in [300, 400] {
        patched(&bench, &json!({ "disk_mib": 199 })).await.refuses(422, "disk-smaller", "spec.disk_mib");
        patched(&bench, &json!({ "disk_mib": 0 })).await.refuses(422, "invalid-spec", "spec.disk_mib");
        assert_eq!(patched(&bench, &json!({ "disk_mib": larger })).await.status.as_u16(), 200);
        assert_eq!(bench.get("/v1/vms/a").await.body["spec"]["disk_mib"], larger);
        if larger == 300 {
            stopped(&bench).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_grows_while_it_runs_where_there_is_room_for_it() {
    let bench = Bench::with_images().await;
    let made = made(&bench, true, &json!({ "mem_mib": 256, "mem_max_mib": 1024 })).await;
    assert_eq!((made.status.as_u16(), &made.body["spec"]["mem_max_mib"]), (200, &json!(1024)), "{}", made.body);
    assert_eq!(patched(&bench, &json!({ "mem_mib": 512 })).await.body["spec"]["mem_mib"], 512);
    patched(&bench, &json!({ "mem_mib": 1025 })).await.refuses(422, "invalid-spec", "spec.mem_mib");
    patched(&bench, &json!({ "mem_mib": 255 })).await.refuses(409, "only-when-stopped", "spec.mem_mib");
    patched(&bench, &json!({ "mem_max_mib": null })).await.refuses(409, "only-when-stopped", "");
    stopped(&bench).await;
    let smaller = patched(&bench, &json!({ "mem_mib": 128, "mem_max_mib": null })).await;
    assert_eq!((&smaller.body["spec"]["mem_mib"], smaller.body["spec"].get("mem_max_mib")), (&json!(128), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_drives_are_shown_as_asked_and_no_change_that_forgets_one_loses_it() {
    let bench = Bench::with_images().await;
    let asked = json!([{ "name": "data", "size_mib": 1024 }, { "name": "logs", "size_mib": 64, "read_only": true }]);
    assert_eq!(made(&bench, true, &json!({ "drives": asked })).await.status.as_u16(), 200);
    let drives = async || bench.get("/v1/vms/a").await.body["spec"]["drives"].clone();
    let told = |data: u64| {
        json!([
            { "name": "data", "size_mib": data, "read_only": false },
            { "name": "logs", "size_mib": 64, "read_only": true }
        ])
    };
    assert_eq!(drives().await, told(1024));
    // No hot-plug, and a file that its VMM only reads does not grow under it.
    let logs = |size_mib: u64| json!({ "drives": [{ "name": "logs", "size_mib": size_mib }] });
    let new = json!({ "drives": [{ "name": "new", "size_mib": 1 }] });
    for change in [new, json!({ "remove_drives": ["logs"] }), logs(65)] {
        let refused = patched(&bench, &change).await;
        refused.refuses(409, "only-when-stopped", "");
        assert!(refused.body["detail"].as_str().unwrap().contains("drives"), "{}", refused.body);
    }
    assert_eq!(patched(&bench, &logs(64)).await.status.as_u16(), 200, "it has that size");
    let data = |size_mib: u64| json!({ "drives": [{ "name": "data", "size_mib": size_mib }] });
    patched(&bench, &data(1023)).await.refuses(422, "drive-smaller", "spec.drives");
    assert_eq!(patched(&bench, &data(1025)).await.status.as_u16(), 200);
    assert_eq!(drives().await, told(1025));
    stopped(&bench).await;
    for nothing in [json!({ "drives": [] }), json!({ "remove_drives": [] }), json!({ "drives": [{ "name": "data" }] })] {
        let answer = patched(&bench, &nothing).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        assert_eq!(drives().await, told(1025));
    }
    let grown = patched(&bench, &json!({ "drives": [{ "name": "data", "size_mib": 2048 }] })).await;
    assert_eq!((grown.status.as_u16(), drives().await), (200, told(2048)), "{}", grown.body);
    let changed = patched(&bench, &json!({ "remove_drives": ["data"], "drives": [{ "name": "new", "size_mib": 1 }] })).await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.body);
    let names: Vec<_> = drives().await.as_array().unwrap().iter().map(|drive| drive["name"].clone()).collect();
    assert_eq!(names, ["logs", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drives_that_can_not_be_are_refused_by_their_field() {
    let bench = Bench::with_images().await;
    let drive = |name: &str, size_mib: u64| json!({ "name": name, "size_mib": size_mib });
    let many: Vec<_> = (0..9).map(|n| drive(&format!("d{n}"), 2)).collect();
    for wrong in [
        json!([drive("Data", 1)]),
        json!([drive("", 1)]),
        json!([drive("a,serial=b", 1)]),
        json!([drive("abcdefghijklmnopqrstu", 1)]),
        json!([drive("data", 0)]),
        json!([drive("data", 67_108_865)]),
        json!([drive("data", 1), drive("data", 2)]),
        json!(many),
    ] {
        made(&bench, false, &json!({ "drives": wrong })).await.refuses(422, "invalid-spec", "spec.drives");
    }
    assert_eq!(made(&bench, false, &json!({ "drives": &many[..8] })).await.status.as_u16(), 200);
    for (change, code, field) in [
        (json!({ "drives": [drive("d8", 1)] }), "invalid-spec", "spec.drives"),
        (json!({ "drives": [drive("d0", 0)] }), "invalid-spec", "spec.drives"),
        (json!({ "drives": [drive("d0", 1)] }), "drive-smaller", "spec.drives"),
        (json!({ "drives": [{ "name": "d8" }] }), "drive-without-size", "spec.drives"),
        (json!({ "drives": [drive("d0", 2)], "remove_drives": ["d0"] }), "drive-named-twice", "spec.drives"),
        (json!({ "remove_drives": ["d8"] }), "no-such-drive", "spec.remove_drives"),
        (json!({ "remove_drives": ["-"] }), "invalid-spec", "spec.remove_drives"),
    ] {
        patched(&bench, &change).await.refuses(422, code, field);
    }
    let both = json!({ "drives": [drive("d8", 1)], "remove_drives": ["d7"] });
    assert_eq!(patched(&bench, &both).await.status.as_u16(), 200, "there is room for one once another is gone");
}
