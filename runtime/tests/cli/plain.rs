//! Commands that are requests and answers.

use super::double::{Double, Ran, hearth};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn a_list_is_read_page_by_page() {
    let double = Double::start();
    let ran = double.run(&["vm", "ls", "--label", "a=b", "--state", "running"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("NAME  STATE    IMAGE"), "{ran:?}");
    assert!(lines[1].starts_with("one   running  busybox") && lines[2].starts_with("two   stopped"), "{ran:?}");
    assert!(double.seen("GET /v1/vms?limit=1000&label=a%3Db&cursor=c1&state=running").len() == 1, "{:?}", double.seen(""));
    assert_eq!(double.run(&["vm", "list", "-q"]).out, "vm_one\nvm_two\n");
    let json: Value = serde_json::from_str(&double.run(&["vm", "ls", "-o", "json"]).out).unwrap();
    assert_eq!(json[1]["name"], "two");
    assert_eq!(double.run(&["vm", "ls", "--limit", "1"]).err, "there are more than these 1; --limit shows more\n");
}

#[test]
fn one_thing_is_shown_in_full() {
    let double = Double::start();
    let ran = double.run(&["vm", "show", "demo"]);
    assert!(ran.out.contains("name      demo\n") && ran.out.contains("labels    a=1 b=2\n"), "{ran:?}");
    let json: Value = serde_json::from_str(&double.run(&["vm", "get", "demo", "-o", "json"]).out).unwrap();
    assert_eq!(json["id"], "vm_demo");
}

#[test]
fn creating_waits_and_starts() {
    let double = Double::start();
    let ran = double.run(&[
        "vm",
        "create",
        "demo",
        "--image",
        "busybox",
        "--mem",
        "1G",
        "--disk",
        "2G",
        "--label",
        "a=b",
        "--no-network",
        "--drive",
        "data:10G",
        "--drive",
        "base:64:ro",
    ]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "vm demo created and started\n", ""));
    let post = &double.seen("POST /v1/vms")[0];
    assert!(post.key.is_some());
    assert_eq!(post.body["spec"]["mem_mib"], 1024);
    assert_eq!((&post.body["spec"]["disk_mib"], &post.body["start"]), (&2048.into(), &true.into()));
    assert_eq!(post.body["spec"]["networks"], serde_json::json!([]));
    let drives = [("data", 10_240, false), ("base", 64, true)]
        .map(|(name, size, read_only)| serde_json::json!({ "name": name, "size_mib": size, "read_only": read_only }));
    assert_eq!(post.body["spec"]["drives"], serde_json::json!(drives));
    assert_eq!(double.seen("GET /v1/operations/op_ok_demo").len(), 2);

    let ran = double.run(&["vm", "create", "--name", "x", "--image", "busybox", "--no-start", "--no-wait"]);
    assert_eq!(ran.out, "vm x: create goes on (op_ok_x)\n", "{ran:?}");
    assert_eq!(double.seen("POST /v1/vms")[1].body["start"], false);
    assert!(double.seen("GET /v1/operations/op_ok_x").is_empty());
}

#[test]
fn interfaces_are_asked_for_and_changed_and_shown() {
    let double = Double::start();
    let both = ["--network", "default", "--network", "default,mac=02:00:00:00:00:01"];
    let ran = double.run(&[["vm", "create", "demo", "--image", "busybox"].as_slice(), &both].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let asked = serde_json::json!(["default", { "network": "default", "mac": "02:00:00:00:00:01" }]);
    assert_eq!(double.seen("POST /v1/vms")[0].body["spec"]["networks"], asked);
    let ran = double.run(&[["vm", "update", "demo"].as_slice(), &both].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = double.run(&["vm", "update", "demo", "--no-network"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let patches = double.seen("PATCH /v1/vms/demo");
    assert_eq!(patches[0].body, serde_json::json!({ "spec": { "networks": asked } }));
    assert_eq!(patches[1].body, serde_json::json!({ "spec": { "networks": [] } }));
    for wrong in [["--network", "default,mtu=9"], ["--network", ""]] {
        let ran = double.run(&[["vm", "update", "demo"].as_slice(), &wrong].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    let shown = double.run(&["vm", "get", "wired"]).out;
    assert!(shown.contains("default default") && shown.contains("eth0 10.0.0.2 02:68:0a:00:00:02 default"), "{shown}");
    assert!(shown.contains("eth1 10.0.0.9 02:00:00:00:00:01 default"), "{shown}");
}

#[test]
fn what_fails_does_not_stop_the_others() {
    let double = Double::start();
    let ran = double.run(&["vm", "start", "a", "refused", "doomed", "b"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "vm a started\nvm b started\n"));
    assert_eq!(
        ran.err,
        "error: refused: vm refused is running\nhint: stop it first\nrequest: req_7\n\
         error: doomed: the guest panicked\nhint: look at its logs\n"
    );
    let keys: std::collections::BTreeSet<_> = double.seen("POST").into_iter().map(|seen| seen.key.unwrap()).collect();
    assert_eq!(keys.len(), 4);
}

#[test]
fn a_wait_has_an_end() {
    let double = Double::start();
    let ran = double.run(&["vm", "stop", "slow", "--timeout", "1"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.err,
        "error: operation op_slow is still running after 1 s\nhint: go on waiting with `hearth operation wait op_slow`\n"
    );
}

#[test]
fn problems_are_json_for_those_who_want_json() {
    let double = Double::start();
    let ran = double.run(&["vm", "get", "missing", "-o", "json"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let problem: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&"vm-not-found".into(), &404.into()));
}

#[test]
fn labels_change_only_on_top_of_what_was_read() {
    let double = Double::start();
    let ran = double.run(&["vm", "update", "demo", "--label", "c=3", "--label", "a-"]);
    assert_eq!(ran.out, "vm demo updated\n", "{ran:?}");
    let patch = &double.seen("PATCH /v1/vms/demo")[0];
    assert_eq!(patch.body, serde_json::json!({"labels": {"b": "2", "c": "3"}}));
    assert_eq!(patch.if_match.as_deref(), Some("\"4\""));
    assert_eq!(double.run(&["vm", "update", "demo"]).code, Some(2));
}

#[test]
fn removing_by_force_is_the_servers_work() {
    let double = Double::start();
    assert_eq!(double.run(&["vm", "rm", "-f", "a", "b"]).out, "vm a deleted\nvm b deleted\n");
    assert_eq!(double.seen("DELETE /v1/vms/a?force=true").len(), 1);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = Ran::from(hearth(&["vm", "ls", "--url", &format!("http://{free}"), "--token", "x"]).output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.err,
        format!(
            "error: cannot reach hearth at http://{free}: connection refused\n\
             hint: start the server with `hearth up`, or name another with --url or HEARTH_URL\n"
        )
    );
}

#[test]
fn the_token_is_found_and_its_absence_explained() {
    let double = Double::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let ran = Ran::from(hearth(&["vm", "ls", "--url", &double.url, "--data-dir", path]).output().unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.starts_with(&format!("error: sign in first\nhint: {path}/admin.token does not exist; set HEARTH_TOKEN")),
        "{ran:?}"
    );
    std::fs::write(dir.path().join("admin.token"), "secret\n").unwrap();
    let ran = Ran::from(hearth(&["vm", "ls", "-q", "--url", &double.url, "--data-dir", path]).output().unwrap());
    assert_eq!(ran.out, "vm_one\nvm_two\n", "{ran:?}");
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for args in [
        &["vm"][..],
        &["vm", "start"],
        &["vm", "create", "x"],
        &["vm", "create", "x", "--image", "i", "--mem", "1K"],
        &["nonsense"],
    ] {
        let ran = Ran::from(hearth(args).output().unwrap());
        assert_eq!(ran.code, Some(2), "{args:?} {ran:?}");
    }
    for args in [&["--help"][..], &["vm", "create", "--help"], &["vm", "exec", "--help"], &["version"]] {
        assert_eq!(Ran::from(hearth(args).output().unwrap()).code, Some(0), "{args:?}");
    }
}

#[test]
fn completions_are_made_without_a_server() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Ran::from(hearth(&["completion", shell]).output().unwrap());
        assert!(ran.code == Some(0) && ran.out.contains("hearth") && ran.out.contains("cordon"), "{shell}");
    }
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let mut child = hearth(&["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn metrics_once() {
    let double = Double::start();
    let ran = double.run(&["vm", "metrics", "demo"]);
    assert!(ran.out.lines().nth(1).unwrap().starts_with("demo  12.5%  64M/256M"), "{ran:?}");
}

#[test]
fn metrics_of_nobody_are_an_error_and_no_table() {
    let double = Double::start();
    for words in [&["vm", "metrics", "missing"][..], &["vm", "metrics", "--vmm", "missing"]] {
        let ran = double.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    }
}

#[test]
fn what_the_vmm_counts() {
    let double = Double::start();
    let ran = double.run(&["vm", "metrics", "--vmm", "demo"]);
    assert!(ran.code == Some(0) && ran.out.contains("drive root") && ran.out.contains("4K"), "{ran:?}");
    assert!(ran.err.contains("vm demo: not known: the balloon's size: why"), "{ran:?}");
    let ran = double.run(&["vm", "metrics", "--vmm", "demo", "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["drives"][0]["written_bytes_total"], 4096);
    assert_eq!(double.run(&["vm", "metrics", "--vmm", "-f", "demo"]).code, Some(2));
}

#[test]
fn what_the_guest_is_given_comes_out_of_files_and_no_private_key_leaves_the_machine() {
    let double = Double::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (data, key) = (file("data", "#!/bin/sh\n"), file("id.pub", "ssh-ed25519 AAAA me\n"));
    let (private, metadata) = (file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n"), file("meta.json", "{\"role\": \"web\"}"));
    let create = ["vm", "create", "demo", "--image", "busybox"];
    for (flag, wrong, told) in [
        ("--ssh-key", private.as_str(), "id is a private key\nhint: give the public one"),
        ("--ssh-key", "missing.pub", "cannot read missing.pub: No such file"),
        ("--user-data", "missing", "cannot read missing: No such file"),
        ("--metadata", data.as_str(), "data is no JSON object"),
    ] {
        let ran = double.run(&[&create[..], &[flag, wrong]].concat());
        assert!(ran.code == Some(2) && ran.err.contains(told), "{ran:?}");
    }
    assert!(double.seen("POST").is_empty(), "{:?}", double.seen(""));
    let given = ["--user-data", &data, "--ssh-key", &key, "--ssh-key", "ssh-rsa BBBB", "--metadata", &metadata];
    let ran = double.run(&[&create[..], &given].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let spec = &double.seen("POST /v1/vms")[0].body["spec"];
    let keys = ["ssh-ed25519 AAAA me", "ssh-rsa BBBB"];
    assert_eq!(spec["cloud_init"], serde_json::json!({"user_data": "#!/bin/sh\n", "ssh_keys": keys}));
    assert_eq!(spec["metadata"], serde_json::json!({"role": "web"}));

    assert_eq!(double.run(&["vm", "update", "demo", "--ssh-key", &key]).code, Some(0));
    let patch = &double.seen("PATCH /v1/vms/demo")[0];
    assert_eq!(patch.body, serde_json::json!({"spec": {"cloud_init": {"ssh_keys": ["ssh-ed25519 AAAA me"]}}}));
    assert_eq!(patch.if_match.as_deref(), Some("\"4\""), "on top of what was read");
    assert_eq!(double.run(&["vm", "update", "demo", "--no-cloud-init", "--no-metadata"]).code, Some(0));
    let patch = &double.seen("PATCH /v1/vms/demo")[1];
    assert_eq!(patch.body, serde_json::json!({"spec": {"cloud_init": null, "metadata": null}}));
    assert_eq!(double.run(&["vm", "update", "demo", "--no-metadata", "--metadata", &metadata]).code, Some(2));
}

/// Where it was asked for, and there alone; also when what follows fails or nobody waits for it.
#[test]
fn a_password_that_was_made_is_shown_once() {
    let double = Double::start();
    let (line, told) = ("the password of the image's default user, shown this once: abcde-fghjk", "abcde-fghjk");
    let create = |name: &'static str, more: &[&str]| {
        double.run(&[&["vm", "create", name, "--image", "busybox", "--password"][..], more].concat())
    };
    let ran = create("demo", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), format!("{line}\nvm demo created and started\n").as_str()), "{ran:?}");
    assert!(!ran.err.contains(told), "{ran:?}");
    assert_eq!(double.seen("POST /v1/vms")[0].body["spec"]["cloud_init"], serde_json::json!({"password": "generate"}));
    let ran = create("demo", &["-q"]);
    assert_eq!((ran.out.as_str(), ran.err.contains(line)), ("vm_demo\n", true), "{ran:?}");
    let ran = create("demo", &["-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&shown["credentials"]["password"], shown["status"]["state"].as_str()),
        (&told.into(), Some("running")),
        "{ran:?}"
    );
    assert!(!ran.err.contains(told), "{ran:?}");
    // Where the document can't be written nobody has it yet.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output =
        double.hearth(&["vm", "create", "demo", "--image", "busybox", "--password", "-o", "json"]).stdout(full).output().unwrap();
    let ran = Ran::from(output);
    assert!(ran.code == Some(1) && ran.err.contains(line), "{ran:?}");
    let ran = create("doomed", &["-o", "json"]);
    assert!(ran.code == Some(1) && ran.err.contains(line) && !ran.out.contains(told), "{ran:?}");
    let ran = create("slow", &["-o", "json", "--no-wait"]);
    assert!(ran.code == Some(0) && ran.out.contains(told) && !ran.err.contains(told), "{ran:?}");
    let ran = create("again", &[]);
    assert!(ran.code == Some(0) && ran.out.starts_with("told before\n"), "{ran:?}");

    let ran = double.run(&["vm", "update", "demo", "--new-password"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), format!("{line}\nvm demo updated\n").as_str()), "{ran:?}");
    let patch = double.seen("PATCH /v1/vms/demo").pop().unwrap();
    assert_eq!(patch.body, serde_json::json!({"spec": {"cloud_init": {"password": "generate"}}}));
    assert!(!double.run(&["vm", "get", "demo"]).out.contains(told));
}
