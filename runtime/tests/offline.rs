//! `hearth backup`, `restore` and `fsck` as processes, on real data directories with the simulated driver.

// The helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used)]

use actors::idempotency::{BY_TIME, Outcome, Record, TABLE};
use domain::{
    Attempt, Generation, HostId, ImageId, Labels, Name, Timestamp, VmId,
    host::{Capabilities, Facts, Host, VmmFacts},
    image::{Files, Image, ImageKind, ImageSpec},
    vm::{BootImages, Driver, MachineMemory, Nic, RestartPolicy, Restarts, State, Vm, VmSpec},
};
use process::{Server, accept, heard, run, until};
use runtime::deliver::{parse_secret, signature};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};
use storage::{Batch, Journal, Options, envelope::encode, schema};

#[path = "support/process.rs"]
mod process;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn host() -> Host {
    let vmm =
        VmmFacts { driver: Driver::Simulated, version: "1".into(), acceleration: "none".into(), chosen_because: "test".into() };
    let facts = Facts {
        hostname: "h".into(),
        kernel: "6".into(),
        architecture: "x86_64".into(),
        cpu_model: "cpu".into(),
        cpus: 4,
        mem_mib: 8192,
        vm_vcpus: 8,
        vm_mem_mib: 7000,
        hearth_version: "0.1.0".into(),
        vmm,
        network_problem: None,
        problems: vec![],
        capabilities: Capabilities::NONE,
    };
    Host {
        id: HostId::from_bits(1),
        name: name("h1"),
        labels: Labels::new(),
        generation: Generation(1),
        created_at: NOW,
        updated_at: NOW,
        facts,
        state: domain::host::State::Healthy,
        cordoned: false,
    }
}

fn image() -> Image {
    let files = Files { digest: "sha256:00".into(), size_bytes: 1, initrd_digest: None, initrd_size_bytes: 0 };
    Image {
        id: ImageId::from_bits(1),
        name: name("base"),
        project: name("default"),
        labels: Labels::new(),
        generation: Generation(1),
        created_at: NOW,
        updated_at: NOW,
        spec: ImageSpec { kind: ImageKind::Rootfs, path: "/nowhere".into(), initrd: None, default: false, description: None },
        state: domain::image::State::Ready(files),
        attempt: Attempt(1),
        operation: None,
    }
}

fn vm(number: u8) -> Vm {
    Vm {
        id: VmId::from_bits(u128::from(number)),
        name: name(&format!("vm{number}")),
        project: name("default"),
        labels: Labels::new(),
        generation: Generation(1),
        created_at: NOW,
        updated_at: NOW,
        spec: VmSpec {
            host: None,
            vcpus: 1,
            mem_mib: 128,
            kernel: None,
            image: "base".into(),
            disk_mib: None,
            cmdline: None,
            networks: vec!["default".into()],
            restart: RestartPolicy::Never,
            devices: domain::vm::Devices::default(),
        },
        boot: BootImages { kernel: ImageId::from_bits(1), rootfs: ImageId::from_bits(1) },
        host: HostId::from_bits(1),
        nics: vec![Nic {
            address: Ipv4Addr::new(10, 77, 0, number),
            prefix: 16,
            gateway: Ipv4Addr::new(10, 77, 0, 1),
            mac: [2, 0, 0, 0, 0, number],
            tap: format!("t{number}"),
        }],
        network_note: None,
        state: State::Stopped,
        attempt: Attempt(1),
        operation: None,
        restarts: Restarts::default(),
        reason: None,
        retuned: false,
        memory: MachineMemory::default(),
    }
}

/// A data directory with some VMs, and what a test adds.
fn data_dir(dir: &Path, vms: u8, more: impl FnOnce(Batch) -> Batch) {
    let journal = Journal::open(Options::new(dir.join("journal"))).unwrap();
    let mut batch = Batch::default().put(schema::HOSTS, host().id.to_string(), encode(&host()).unwrap()).put(
        schema::IMAGES,
        image().id.to_string(),
        encode(&image()).unwrap(),
    );
    for number in 2..2 + vms {
        batch = batch.put(schema::VMS, vm(number).id.to_string(), encode(&vm(number)).unwrap());
    }
    journal.commit_blocking(more(batch)).unwrap();
}

fn codes(report: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(report).unwrap();
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Every file below with its bytes.
fn picture(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(picture(&entry.path())),
            false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}

#[test]
fn a_backup_of_a_running_server_comes_back_in_a_new_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new, file) = (folder.path().join("old"), folder.path().join("new"), folder.path().join("a.backup"));
    let (old_text, new_text, file_text) = (old.to_str().unwrap(), new.to_str().unwrap(), file.to_str().unwrap());
    data_dir(&old, 3, |batch| batch);
    let server = Server::start(&old);
    let ran = run(&["backup", file_text, "--url", &server.url, "--data-dir", old_text]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&["backup", file_text, "--url", &server.url, "--data-dir", old_text]);
    assert!(again.code == Some(1) && again.err.contains("it exists already"), "{again:?}");
    let unsigned = run(&["backup", &format!("{file_text}2"), "--url", &server.url, "--token", "wrong-token-wrong"]);
    assert!(unsigned.code == Some(1) && fs::read_dir(folder.path()).unwrap().count() == 2, "{unsigned:?}");
    let busy = run(&["fsck", old_text]);
    assert!(busy.code == Some(1) && busy.err.contains("another hearth uses"), "{busy:?}");
    assert!(busy.err.contains("hint: end that server first"), "{busy:?}");
    drop(server);

    let into_old = run(&["restore", file_text, "--data-dir", old_text]);
    assert!(into_old.code == Some(1) && into_old.err.contains("it is not empty"), "{into_old:?}");
    assert!(into_old.err.contains("hint: name another directory"), "{into_old:?}");
    let nothing = run(&["restore", "nothing", "--data-dir", new_text]);
    assert!(nothing.code == Some(1) && nothing.err.contains("hint: name a file that `hearth backup FILE` made"), "{nothing:?}");
    let restored = run(&["restore", file_text, "--data-dir", new_text]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.err.contains("the disks of 3 VMs"), "{restored:?}");
    assert_eq!(run(&["fsck", new_text]).code, Some(0));
    let server = Server::start(&new);
    let listed = run(&["vm", "ls", "-q", "--url", &server.url, "--data-dir", new_text]);
    assert_eq!(listed.out.lines().count(), 3, "{listed:?}");
    assert_ne!(
        fs::read(old.join("admin.token")).unwrap(),
        fs::read(new.join("admin.token")).unwrap(),
        "the token is not in a backup"
    );
}

/// Of the test that `hearth webhook test` sends: whether it was signed with this secret.
fn signed_with(listener: &TcpListener, secret: &str, server: &Server, dir: &str) -> bool {
    let tested = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| heard(&mut accept(listener)).unwrap());
        let ran = run(&["webhook", "test", "ci", "--url", &server.url, "--data-dir", dir]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        receiver.join().unwrap()
    });
    let (head, body) = tested;
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        line.unwrap_or_else(|| panic!("no {name}: {head}")).1.to_owned()
    };
    let at: u64 = header("webhook-timestamp").parse().unwrap();
    signature(&parse_secret(secret).unwrap(), &header("webhook-id"), at, &body) == header("webhook-signature")
}

#[test]
fn a_restored_webhook_signs_as_before_or_says_that_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let (old, listener) = (folder.path().join("old"), TcpListener::bind("127.0.0.1:0").unwrap());
    let to = format!("http://{}/", listener.local_addr().unwrap());
    let (old_text, told) = (old.to_str().unwrap(), "its new secret, shown this once: ");
    let server = Server::start(&old);
    let ask = |server: &Server, dir: &str, words: &[&str]| {
        let ran = run(&[&["webhook"], words, &["--url", &server.url, "--data-dir", dir]].concat());
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.out
    };
    // Nothing is sent but what is asked for here.
    ask(&server, old_text, &["create", "ci", "--to", &to, "--id", "vm_none"]);
    let updated = ask(&server, old_text, &["update", "ci", "--new-secret"]);
    let secret = updated.lines().find_map(|line| line.strip_prefix(told)).unwrap().to_owned();
    assert!(signed_with(&listener, &secret, &server, old_text), "with the new one at once");
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    for (file, more) in [(&with, None), (&without, Some("--without-secrets"))] {
        let words = [&["backup", file.to_str().unwrap(), "--url", &server.url, "--data-dir", old_text], more.as_slice()].concat();
        let ran = run(&words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let (bytes, key) = (fs::read(file).unwrap(), parse_secret(&secret).unwrap());
        let holds = bytes.windows(key.reveal().len()).any(|window| window == key.reveal());
        assert_eq!(holds, more.is_none(), "{}", file.display());
    }
    drop(server);

    let restore = |file: &Path, to: &str| {
        let dir = folder.path().join(to);
        let ran = run(&["restore", file.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        (dir.to_str().unwrap().to_owned(), ran.err)
    };
    let (dir, err) = restore(&with, "new");
    assert!(!err.contains("webhook"), "{err}");
    let secrets: Vec<_> = fs::read_dir(Path::new(&dir).join("secrets")).unwrap().map(Result::unwrap).collect();
    let modes: Vec<u32> = secrets.iter().map(|file| file.metadata().unwrap().permissions().mode() & 0o777).collect();
    assert_eq!(modes, [0o600]);
    assert_eq!(run(&["fsck", &dir]).code, Some(0));
    let server = Server::start(Path::new(&dir));
    assert!(signed_with(&listener, &secret, &server, &dir), "as before");
    assert!(ask(&server, &dir, &["get", "ci"]).contains("active"));
    drop(server);

    let (dir, err) = restore(&without, "bare");
    assert!(err.contains("a new one") && err.trim_end().ends_with(": ci"), "{err}");
    let checked = run(&["fsck", &dir, "-o", "json"]);
    assert!(checked.code == Some(1) && codes(&checked.out) == ["missing-secret"], "{checked:?}");
    let server = Server::start(Path::new(&dir));
    let state = |server: &Server| -> (String, String) {
        let seen: Value = serde_json::from_str(&ask(server, &dir, &["get", "ci", "-o", "json"])).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&seen["status"]["state"]), text(&seen["status"]["reason"]["code"]))
    };
    until("it is shown so", || state(&server) == ("disabled".to_owned(), "secret-missing".to_owned()));
    let updated = ask(&server, &dir, &["update", "ci", "--new-secret"]);
    let secret = updated.lines().find_map(|line| line.strip_prefix(told)).unwrap();
    assert_eq!(state(&server).0, "active", "what it lacked it has");
    assert!(signed_with(&listener, secret, &server, &dir));
}

#[test]
fn a_backup_that_is_not_whole_or_newer_is_refused_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, file) = (folder.path().join("data"), folder.path().join("a.backup"));
    let journal = Journal::open(Options::new(folder.path().join("journal"))).unwrap();
    let made = |journal: &Journal| -> Vec<u8> {
        storage::backup::Pieces::of(journal, "0.1.0", 1).unwrap().flat_map(Result::unwrap).collect()
    };
    journal.commit_blocking(Batch::default().put(schema::VMS, "vm_x", encode(&vm(2)).unwrap())).unwrap();
    let good = made(&journal);
    let mut newer = encode(&vm(3)).unwrap();
    newer[..2].copy_from_slice(&u16::MAX.to_le_bytes());
    journal.commit_blocking(Batch::default().put(schema::VMS, "vm_y", newer)).unwrap();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let mut format = good.clone();
    format[14] = b'7';
    let cases = [
        (good[..good.len() - 10].to_vec(), "it was cut off"),
        (flipped, "damaged"),
        (format, "which a newer hearth wrote"),
        (b"what".to_vec(), "no backup of hearth's"),
        (made(&journal), "was written by a newer hearth"),
    ];
    for (bytes, why) in cases {
        fs::write(&file, bytes).unwrap();
        let ran = run(&["restore", file.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()]);
        assert!(ran.code == Some(1) && ran.err.contains(why), "{why}: {ran:?}");
        assert!(!dir.exists(), "{why}: something was made");
    }
}

#[test]
fn fsck_finds_what_does_not_fit_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let text = dir.to_str().unwrap();
    data_dir(&dir, 2, |batch| {
        let mut twin = vm(9);
        (twin.name, twin.nics, twin.boot.kernel) = (vm(2).name, vm(2).nics, ImageId::from_bits(77));
        let twin = encode(&twin).unwrap();
        batch.put(schema::VMS, vm(9).id.to_string(), twin).put(schema::OPERATIONS, "op_x", vec![1, 0, 255])
    });
    fs::create_dir_all(dir.join("vms/vm_stray")).unwrap();
    let before = picture(&dir);
    let ran = run(&["fsck", text, "-o", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let expected = [
        "unreadable-record",
        "missing-image",
        "duplicate-name",
        "duplicate-address",
        "duplicate-mac",
        "duplicate-tap",
        "stray-folder",
    ];
    assert_eq!(codes(&ran.out), expected, "{ran:?}");
    assert!(picture(&dir) == before, "fsck wrote something");
    // What it can mend it mends; the rest stays and says so.
    let ran = run(&["fsck", text, "--repair", "-o", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ran = run(&["fsck", text, "-o", "json"]);
    assert!(
        codes(&ran.out).contains(&"set-aside".to_owned()) && !codes(&ran.out).contains(&"unreadable-record".to_owned()),
        "{ran:?}"
    );
    let nothing = run(&["fsck", folder.path().to_str().unwrap()]);
    assert!(nothing.code == Some(1) && nothing.err.contains("there is no journal"), "{nothing:?}");
    assert!(nothing.err.contains("hint: name a data directory"), "{nothing:?}");
}

/// As an older hearth leaves it that ran after the index was made: a key that no sweep would find.
#[test]
fn a_key_that_no_sweep_would_find_is_told_and_gets_its_entry() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let text = dir.to_str().unwrap();
    let outcome = Outcome::Answered { status: 200, body: "{}".into() };
    let record = |at_ms| Record { fingerprint: [7; 32], at_ms, outcome: outcome.clone() };
    let (known, unknown) = (record(NOW.0), record(NOW.0 + 1));
    data_dir(&dir, 1, |batch| {
        let (table, entry, nothing) = known.entry("known");
        batch
            .put(TABLE, "known", encode(&known).unwrap())
            .put(table, entry, nothing)
            .put(TABLE, "unknown", encode(&unknown).unwrap())
            .put(BY_TIME, domain::idempotency::COMPLETE, Vec::new())
    });
    let before = picture(&dir);
    let ran = run(&["fsck", text, "-o", "json"]);
    assert_eq!((ran.code, codes(&ran.out)), (Some(1), vec!["unswept-key".to_owned()]), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["findings"][0]["subject"], "idempotency/unknown", "{ran:?}");
    assert_eq!((&report["findings"][0]["repairable"], &report["repaired"]), (&true.into(), &false.into()), "{ran:?}");
    assert!(picture(&dir) == before, "fsck wrote something");
    let ran = run(&["fsck", text, "--repair"]);
    assert!(ran.code == Some(0) && ran.out.contains("repaired; the journal as it was is"), "{ran:?}");
    let ran = run(&["fsck", text]);
    assert!(ran.code == Some(0) && ran.out.contains("all is well"), "{ran:?}");
    let entries = |dir: &Path| -> Vec<String> {
        let journal = Journal::open(Options::new(dir.join("journal"))).unwrap();
        journal.load(BY_TIME).unwrap().into_iter().map(|(entry, _)| entry).collect()
    };
    let wanted = ["known", "unknown"].map(|key| domain::idempotency::entry(NOW, key));
    assert_eq!(entries(&dir), [wanted.as_slice(), &[domain::idempotency::COMPLETE.to_owned()]].concat());
    // Both are long over: a server that starts on it sweeps both.
    let server = Server::start(&dir);
    let mut backups = 0;
    until("they are swept", || {
        backups += 1;
        let file = folder.path().join(format!("{backups}.backup"));
        let ran = run(&["backup", file.to_str().unwrap(), "--url", &server.url, "--data-dir", text]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let content = storage::backup::read(fs::File::open(file).unwrap()).unwrap().content;
        content.records.keys().all(|(table, _)| table != TABLE)
    });
}

/// What an older hearth set aside comes back with the next start, and fsck says so.
#[test]
fn what_was_set_aside_and_can_be_read_is_told_to_come_back_and_does() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let text = dir.to_str().unwrap();
    data_dir(&dir, 0, |batch| batch.put(schema::VMS, "vm_bad", vec![9, 9, 9]));
    let journal = Journal::open(Options::new(dir.join("journal"))).unwrap();
    journal.set_aside(schema::HOSTS, &host().id.to_string(), "written by a newer hearth").unwrap();
    journal.set_aside(schema::VMS, "vm_bad", "it does not decode").unwrap();
    drop(journal);
    let remedies = |report: &str| -> Vec<String> {
        let report: Value = serde_json::from_str(report).unwrap();
        let aside = report["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == "set-aside");
        aside.map(|finding| finding["remedy"].as_str().unwrap().to_owned()).collect()
    };
    let ran = run(&["fsck", text, "-o", "json"]);
    assert_eq!(codes(&ran.out), ["set-aside", "set-aside"], "{ran:?}");
    let told = remedies(&ran.out);
    assert!(told[0].contains("the next start puts it back") && told[1].starts_with("start the hearth that wrote it"), "{told:?}");
    let server = Server::start(&dir);
    let listed = run(&["host", "ls", "-q", "--url", &server.url, "--data-dir", text]);
    assert_eq!(listed.out.trim(), host().id.to_string(), "{listed:?}");
    drop(server);
    let ran = run(&["fsck", text, "-o", "json"]);
    assert_eq!(codes(&ran.out), ["set-aside"], "what can't be read stays: {ran:?}");
}

#[test]
fn a_damaged_journal_is_refused_untouched_and_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let text = dir.to_str().unwrap();
    data_dir(&dir, 40, |batch| batch);
    assert_eq!(run(&["fsck", text]).code, Some(0));
    let db = dir.join("journal/db");
    let file = fs::File::options().write(true).open(&db).unwrap();
    // Into the records of VMs, which are the larger part of what was written.
    file.write_all_at(&[0x5a; 64], 4000).unwrap();
    let before = picture(&dir.join("journal"));
    let up = run(&["up", "--vmm", "simulated", "--no-network", "--listen", "127.0.0.1:0", "--data-dir", text]);
    assert!(up.code == Some(1) && up.err.contains("is damaged and was left as it is"), "{up:?}");
    let found = run(&["fsck", text, "-o", "json"]);
    assert!(found.code == Some(1) && codes(&found.out).contains(&"damaged-journal".to_owned()), "{found:?}");
    assert!(picture(&dir.join("journal")) == before, "it was changed");
    let repaired = run(&["fsck", text, "--repair"]);
    assert!(repaired.out.contains("lost: ") && repaired.out.contains("repaired; the journal as it was is"), "{repaired:?}");
    let server = Server::start(&dir);
    let listed = run(&["vm", "ls", "-q", "--url", &server.url, "--data-dir", text]);
    assert!(listed.out.lines().count() >= 30, "{listed:?}");
}
