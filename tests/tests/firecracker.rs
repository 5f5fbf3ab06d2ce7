//! The built hearth on a real Firecracker in its jail: one guest's life with all that only this driver gives, seen through the API, from inside the guest and
//! from outside. Run by `make test-firecracker`, where guests boot on the KVM; by itself it wants HEARTH_FIRECRACKER. It measures no time.

use anyhow::{Context, Result, bail, ensure};
use api::{
    client::{ConnectionEvent, GuestPort, Options as CallOptions},
    guest::{AgentMessage, Decoder, FrameKind, GENERATION, HostHello, HostMessage, frame},
    v1::{Host, Interface, Password, PatchVm, PatchVmSpec, Resize, RestartPolicy, Vm, VmState, VmmMetrics},
};
use bytes::Bytes;
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server,
    command::{finish_within, hearth, ok, run},
    events::Follower,
    guest::{nothing_left, refused, waiting},
    look,
    mmds::Mmds,
    remains, scenario_within,
    terminal::Typist,
    until, within,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Three boots and a half where everything is emulated, guests in the lab's machine: a minute and a half when nothing else runs.
const LONGEST: Duration = Duration::from_secs(900);
/// A boot, from a command line that waits for it.
const BOOTED_WITHIN: Duration = Duration::from_secs(150);
const NAME: &str = "app";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here";
const SECOND_MAC: &str = "02:00:00:00:00:16";
/// These two lose their guests' agents by a pause.
const WITHOUT_PAUSE: [&str; 2] = ["1.16.0", "1.16.1"];
const MIB: u64 = 1 << 20;

/// The disks' sectors, and whether the root's file system has more than 300 MiB.
const GROWN: &str = "cd /sys/block; [ $(df -k / | tail -n 1 | awk '{print $2}') -gt 307200 ] && is=larger; \
                     echo $(cat vda/size vdc/size) $is";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_lives_in_a_jailed_firecracker() -> Result<()> {
    let needs = [Need::Firecracker, Need::Network, Need::Program("nft")];
    scenario_within("a_guest_lives_in_a_jailed_firecracker", &needs, LONGEST, async |machine| {
        let mut server = Server::start(&machine, Options::firecracker()).await?;
        let begun = Instant::now();
        let step = |what: &str| eprintln!("after {:?}: {what}", begun.elapsed());
        let host = chosen(&server).await?;
        ensure!(host.status.vmm_reason == "it was asked for", "{:?}", host.status.vmm_reason);
        step("started");
        let (guest, password) = created(&server).await?;
        step("created and booted");
        confined(&server, &guest).await?;
        used(&server, &guest).await?;
        step("confined; programs, terminal, drive and ports");
        let token = metadata(&server, &guest, &password).await?;
        step("metadata");
        tuned(&server, &guest).await?;
        step("limits and balloon");
        grown(&server, &guest).await?;
        step("disks that grew");
        given_memory(&server, &guest).await?;
        step("memory that came while it ran");
        paused(&server, &guest, &host).await?;
        outlives(&mut server, &guest, &token).await?;
        step("adopted");
        killed(&server, &guest).await?;
        step("killed and restarted");
        two_interfaces(&server, &guest).await?;
        step("two interfaces");
        killed_for_good(&server, &guest).await?;
        guest.delete(&server, false).await?;
        nothing_left(&server, None).await?;
        clean(&server, "the deletion").await?;
        step("deleted");
        down(server).await
    })
    .await
}

fn has(host: &Host, capability: &str) -> bool {
    host.status.capabilities.0.iter().any(|(name, has)| name == capability && *has)
}

/// What it can is told by the host.
async fn chosen(server: &Server) -> Result<Host> {
    let host = server.client().hosts().list(Default::default()).next().await?.context("a host")?;
    let status = &host.status;
    ensure!((status.vmm.as_str(), status.acceleration.as_str()) == ("firecracker", "kvm"), "{status:?}");
    ensure!(status.network_problem.is_none(), "{:?}", status.network_problem);
    let own = ["jailed", "guest_agent", "vsock", "metadata", "balloon", "memory_hotplug"];
    for capability in own.into_iter().chain(["disk_rate_limit", "network_rate_limit"]) {
        ensure!(has(&host, capability), "no {capability} in {:?}", status.capabilities);
    }
    Ok(host)
}

/// `auto` takes the driver whose disks are there, and tells what came of trying a guest, which a busy machine may be too slow for. The doctor remembers it.
async fn chosen_by_auto(server: &Server) -> Result<()> {
    let reason = chosen(server).await?.status.vmm_reason;
    let boots = reason.contains("a guest boots with firecracker on kvm");
    ensure!(boots || reason.contains("have its disks, although: a guest did not boot with firecracker within"), "{reason}");
    let data = server.data_dir().to_string_lossy().into_owned();
    let told = run(server, &["doctor", "--data-dir", &data, "-o", "json"]).await?;
    let report: Value = serde_json::from_str(&told.stdout).with_context(|| format!("{told:?}"))?;
    let check = report["checks"].as_array().and_then(|all| all.iter().find(|check| check["id"] == "firecracker-guest"));
    let check = check.with_context(|| report.to_string())?;
    ensure!((check["status"] == "ok") == boots && (!boots || check["detail"] == *reason), "{check} and {reason:?}");
    Ok(())
}

/// With everything that it may ask for, by the command line. The password is told once.
async fn created(server: &Server) -> Result<(Guest, String)> {
    let folder = tempfile::tempdir()?;
    let metadata = written(folder.path(), &json!({ "role": "web", "list": [1, 2] }))?;
    let mut words = vec!["vm", "create", NAME, "--image", "busybox", "--mem", "192M", "--mem-max", "448M"];
    words.extend(["--drive", "data:16M", "--metadata", &metadata]);
    words.extend(["--disk-mib-per-s", "4", "--rx-mbit-per-s", "200", "--tx-mbit-per-s", "100", "--balloon-mib", "32"]);
    words.extend(["--ssh-key", KEY, "--password", "-o", "json"]);
    let ran = finish_within(BOOTED_WITHIN, hearth(server, &words)?, None, "vm create").await?;
    ensure!(ran.code == Some(0), "{ran:?}");
    let made: Vm = serde_json::from_str(&ran.stdout).context("what vm create printed")?;
    let password = made.credentials.and_then(|credentials| credentials.password).context("a password")?;
    let guest = Guest::named(server, NAME).await?;
    let vm = guest.get().await?;
    ensure!(vm.status.state == VmState::Running && vm.status.reason.is_none(), "{:?}", vm.status);
    ensure!(vm.status.vmm.as_ref().is_some_and(|vmm| vmm.driver == "firecracker"), "{:?}", vm.status.vmm);
    let given = vm.spec.cloud_init.as_ref().and_then(|given| given.password);
    ensure!(vm.credentials.is_none() && given == Some(Password::Set), "the password is told again");
    ensure!(vm.status.agent.is_some_and(|agent| agent.connected), "no agent");
    Ok((guest, password))
}

fn written(folder: &Path, metadata: &Value) -> Result<String> {
    let path = folder.join("metadata.json");
    fs::write(&path, metadata.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

/// As the API tells it, and thread by thread as the kernel does. What is looked for at the end is seen while it is there.
async fn confined(server: &Server, guest: &Guest) -> Result<()> {
    let vmm = guest.get().await?.status.vmm.context("a VMM")?;
    let look = vmm.confinement.context("no confinement is told")?;
    let uid = look.uid.context("several users")?;
    ensure!(look.has.words(false).is_empty() && uid >= 1_900_000_000 && look.gid == Some(uid), "{look:?}");
    let (none, ids) = ("0".repeat(16), vec![uid.to_string(); 4].join(" "));
    let powers = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| (set, none.as_str()));
    let others = [("NoNewPrivs", "1"), ("Seccomp", "2"), ("Uid", ids.as_str()), ("Gid", ids.as_str()), ("Groups", "")];
    for (key, wanted) in powers.into_iter().chain(others) {
        let found = of_every_thread(vmm.pid, key)?;
        ensure!(found == BTreeSet::from([wanted.to_owned()]), "{key} of the threads: {found:?}");
    }
    let (owner, id) = (server.owner()?, Some(guest.id.as_str()));
    ensure!(remains::of_vm(&owner, id) == [vmm.pid], "{:?}", remains::of_vm(&owner, id));
    let seen = remains::of(&owner, server.data_dir(), id);
    for what in ["process ", "network device ", "cgroup ", "folder "] {
        ensure!(seen.iter().any(|seen| seen.starts_with(what)), "no {what}in {seen:?}");
    }
    clean(server, "the start").await
}

fn of_every_thread(pid: u32, key: &str) -> Result<BTreeSet<String>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.collect::<Result<Vec<_>, _>>()?;
    // The API's, the vCPU's and the main one.
    ensure!(threads.len() >= 3, "{} threads", threads.len());
    let mut values = BTreeSet::new();
    for thread in threads {
        let status = fs::read_to_string(thread.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let value = line.with_context(|| format!("no {key} in {status}"))?;
        values.insert(value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Ok(values)
}

/// Programs, a terminal, the data drive behind root and seed, ports of the loopback and of the vsock.
async fn used(server: &Server, guest: &Guest) -> Result<()> {
    ensure!(ok(server, &["vm", "exec", NAME, "--", "hostname"]).await?.trim() == NAME);
    let mut shell = Typist::shell(server.client(), &guest.id, Some(Resize { cols: 91, rows: 33 })).await?;
    shell.ask("stty size", "33 91").await?;
    shell.resize(120, 40).await?;
    shell.ask("stty size", "40 120").await?;
    shell.ask("echo it is $((40 + 2))", "it is 42").await?;
    drop(shell);
    ensure!(guest.sh("cat /sys/block/vdc/size").await? == "32768");
    guest.sh("echo kept | dd of=/dev/vdc bs=512 count=1 conv=sync; sync").await?;

    guest.sh("nc -ll -p 9000 -e cat </dev/null >/dev/null 2>&1 &").await?;
    let said = connected(server, guest, GuestPort::Tcp(9000), b"hello", |said| said.len() >= 5).await?;
    ensure!(said == b"hello", "{:?}", String::from_utf8_lossy(&said));
    // Images have nothing that listens on a vsock but the agent: a second one, by hand.
    guest.sh("/proc/$PPID/exe --by-hand-vsock 5001 </dev/null >/dev/null 2>&1 &").await?;
    let hello = HostMessage::Hello(HostHello { generation: GENERATION, nonce: 77, host_version: String::new() });
    let mut wire = Vec::new();
    frame::encode(FrameKind::Control, 0, &serde_json::to_vec(&hello)?, &mut wire)?;
    connected(server, guest, GuestPort::Vsock(5001), &wire, |said| nonce(said) == Some(77)).await?;
    let problem = refused(server.client().connect(&guest.id, GuestPort::Vsock(5000)).await)?;
    ensure!((problem.status, problem.code.as_str()) == (409, "nobody-listens"), "{problem:?}");
    Ok(())
}

/// What comes back until it is enough, from whoever listens there by now.
async fn connected(
    server: &Server,
    guest: &Guest,
    port: GuestPort,
    sent: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>> {
    let what = format!("{port:?}");
    let connection = until(&what, PATIENCE, || async { Ok(server.client().connect(&guest.id, port).await.ok()) });
    let mut connection = connection.await?;
    connection.input().send(Bytes::copy_from_slice(sent)).await?;
    let mut said = Vec::new();
    while !enough(&said) {
        match within(&what, PATIENCE, connection.next()).await??.context("the connection ended")? {
            ConnectionEvent::Bytes(bytes) => said.extend_from_slice(&bytes),
            ConnectionEvent::Eof => bail!("it ended with {said:?}"),
        }
    }
    Ok(said)
}

/// Of the agent's hello, once that has come.
fn nonce(bytes: &[u8]) -> Option<u64> {
    let (mut decoder, mut rest) = (Decoder::new(), bytes);
    while !rest.is_empty() {
        let (taken, found) = decoder.push(rest);
        rest = &rest[taken..];
        if let Some(AgentMessage::Hello(hello)) = found.and_then(|found| serde_json::from_slice(&found.payload).ok()) {
            return Some(hello.nonce);
        }
    }
    None
}

/// By sessions only, changed while it runs for the session that there is; of the password the hash. Gives the session's token.
async fn metadata(server: &Server, guest: &Guest, password: &str) -> Result<String> {
    let mut service = Mmds::open(server, guest).await?;
    let refused = service.ask("GET", "/role", &[]).await?;
    ensure!(refused.status == 401, "without a token: {refused:?}");
    let token = service.token().await?;
    let before = service.all(&token).await?;
    let hearth = &before["hearth"];
    ensure!((&before["role"], &before["list"]) == (&json!("web"), &json!([1, 2])), "{before}");
    ensure!((hearth["id"].as_str(), hearth["name"].as_str()) == (Some(guest.id.as_str()), Some(NAME)), "{before}");
    let address = guest.address().await?;
    ensure!(
        hearth["address"].as_str().is_some_and(|told| told.split('/').next() == Some(address.as_str())),
        "{address} and {before}"
    );
    let credentials = &hearth["credentials"];
    ensure!((&credentials["user"], &credentials["ssh_keys"]) == (&json!("default"), &json!([KEY])), "{before}");
    let hash = credentials["password_hash"].as_str().with_context(|| before.to_string())?;
    let salt = hash.strip_prefix("$6$").and_then(|rest| rest.split('$').next()).with_context(|| hash.to_owned())?;
    let hashed = guest.run(&["mkpasswd", "-m", "sha512", "-S", salt, password]).await?.stdout;
    ensure!(hashed.trim() == hash, "the hash {hash} is not the password's");
    ensure!(!before.to_string().contains(password), "the guest can read the password");

    let folder = tempfile::tempdir()?;
    ok(server, &["vm", "update", NAME, "--metadata", &written(folder.path(), &json!({ "role": "db" }))?]).await?;
    let mut expected = json!({ "role": "db", "hearth": before["hearth"] });
    let changed = |all: &Value, expected: &Value| (all == expected).then_some(());
    // It is told once it is recorded, and answered before.
    told(&mut service, &token, |all| changed(all, &expected)).await?;
    let patch = PatchVm { name: Some("other".into()), ..PatchVm::default() };
    server.client().vms().patch(&guest.id, &patch, &waiting()).await?;
    expected["hearth"]["name"] = json!("other");
    told(&mut service, &token, |all| changed(all, &expected)).await?;
    let patch = PatchVm { name: Some(NAME.into()), ..PatchVm::default() };
    server.client().vms().patch(&guest.id, &patch, &waiting()).await?;
    ensure!(guest.get().await?.status.reason.is_none(), "{:?}", guest.get().await?.status.reason);
    Ok(token)
}

/// Reads all of it until it is as wanted.
async fn told<T>(service: &mut Mmds, token: &str, wanted: impl Fn(&Value) -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let all = service.all(token).await?;
        if let Some(found) = wanted(&all) {
            return Ok(found);
        }
        ensure!(begun.elapsed() < PATIENCE, "the guest still reads {all}");
    }
}

async fn outside(server: &Server, guest: &Guest) -> Result<VmmMetrics> {
    Ok(server.client().vms().vmm_metrics(&guest.id).await?)
}

/// How often the data drive's limit has held it back so far.
fn held_back(outside: &VmmMetrics) -> Result<u64> {
    let drive =
        outside.drives.iter().find(|drive| drive.name == "data").with_context(|| format!("no data drive: {outside:?}"))?;
    drive.throttled_total.context("it does not tell how often it was held back")
}

/// A limit bites once it is set and is gone when it is taken off; the balloon takes memory and gives it back.
async fn tuned(server: &Server, guest: &Guest) -> Result<()> {
    let balloon = async |mib: u64| {
        let what = format!("a balloon of {mib} MiB");
        let size = async || Ok((outside(server, guest).await?.balloon_bytes == Some(mib * MIB)).then_some(()));
        until(&what, PATIENCE, size).await
    };
    // 4 MiB that were not read before.
    let read = async |skip: u32| -> Result<u64> {
        let before = held_back(&outside(server, guest).await?)?;
        guest.sh(&format!("dd if=/dev/vdc of=/dev/null bs=65536 count=64 skip={skip}")).await?;
        Ok(held_back(&outside(server, guest).await?)? - before)
    };
    balloon(32).await?;
    // So few that no machine is slower: bytes of a second are read in one, or not, as busy as it is.
    ok(server, &["vm", "update", NAME, "--disk-ops-per-s", "4"]).await?;
    ensure!(read(64).await? > 0, "the limit holds nothing back");
    ok(server, &["vm", "update", NAME, "--disk-mib-per-s", "none", "--disk-ops-per-s", "none", "--balloon-mib", "0"]).await?;
    balloon(0).await?;
    let held = read(128).await?;
    ensure!(held == 0, "held back {held} times without a limit");
    let vm = guest.get().await?;
    ensure!(vm.status.reason.is_none() && vm.spec.rate_limits.rx_mbit_per_s == Some(200), "{vm:?}");
    Ok(())
}

/// While it runs: what its root holds is what the guest's own file system says.
async fn grown(server: &Server, guest: &Guest) -> Result<()> {
    ok(server, &["vm", "update", NAME, "--disk", "400M", "--drive", "data:24M"]).await?;
    let larger = async || Ok((guest.sh(GROWN).await? == "819200 49152 larger").then_some(()));
    until("larger disks", PATIENCE, larger).await?;
    let vm = guest.get().await?;
    ensure!(vm.status.reason.is_none() && vm.spec.disk_mib == Some(400), "{vm:?}");
    Ok(())
}

/// While it runs, and the host holds it. How much of it a guest takes back is its own affair.
async fn given_memory(server: &Server, guest: &Guest) -> Result<()> {
    let held = async || -> Result<u64> {
        Ok(server.client().hosts().list(Default::default()).next().await?.context("a host")?.status.held_mem_mib)
    };
    let before = held().await?;
    ok(server, &["vm", "update", NAME, "--mem", "384M"]).await?;
    let more = async || {
        let total: u64 = guest.sh("grep MemTotal: /proc/meminfo | tr -dc 0-9").await?.parse()?;
        Ok((total / 1024 > 320).then_some(()))
    };
    until("more memory", PATIENCE, more).await?;
    ensure!(held().await? == before + 192, "held before: {before} MiB, now {}", held().await?);
    for (mib, code) in [("191M", "only-when-stopped"), ("449M", "invalid-spec")] {
        let ran = run(server, &["vm", "update", NAME, "--mem", mib, "-o", "json"]).await?;
        ensure!(ran.code != Some(0) && format!("{ran:?}").contains(code), "{ran:?}");
    }
    let vm = guest.get().await?;
    ensure!(vm.status.reason.is_none() && vm.spec.mem_mib == 384, "{vm:?}");
    Ok(())
}

/// Where this release can; else refused, with the reason, and nothing happens to the guest.
async fn paused(server: &Server, guest: &Guest, host: &Host) -> Result<()> {
    let version = host.status.vmm_version.as_str();
    ensure!(has(host, "pause") != WITHOUT_PAUSE.contains(&version), "{version}: {:?}", host.status.capabilities);
    if has(host, "pause") {
        guest.pause().await?;
        guest.reaches(VmState::Paused).await?;
        guest.resume().await?;
        guest.reaches(VmState::Running).await?;
    } else {
        let why = host.status.problems.iter().find(|problem| problem.contains("after a pause"));
        ensure!(why.is_some_and(|why| why.contains(version)), "{:?}", host.status.problems);
        let problem = refused(server.client().vms().pause(&guest.id, &waiting()).await)?;
        ensure!(problem.code == "unsupported-by-driver", "{problem:?}");
        let vm = guest.get().await?;
        ensure!(vm.status.state == VmState::Running && vm.status.refused.contains_key("pause"), "{:?}", vm.status);
    }
    ensure!(guest.sh("echo goes on").await? == "goes on");
    Ok(())
}

/// `kill -9` of hearth, and `auto` in its place: the same process and the same boot, with the metadata that it had, for the session that there was.
async fn outlives(server: &mut Server, guest: &Guest, token: &str) -> Result<()> {
    let boot = "cat /proc/sys/kernel/random/boot_id";
    let (pid, booted) = (guest.pid().await?, guest.sh(boot).await?);
    let expected = Mmds::open(server, guest).await?.all(token).await?;
    server.kill().await?;
    ensure!(Path::new(&format!("/proc/{pid}/fd")).exists(), "the guest ended with hearth");
    server.choose("auto");
    server.up().await?;
    guest.reaches(VmState::Running).await?;
    ensure!(guest.pid().await? == pid, "another pid");
    let agent = async || Ok(guest.get().await?.status.agent.is_some_and(|agent| agent.connected).then_some(()));
    until("the agent's connection", PATIENCE, agent).await?;
    ensure!(guest.sh(boot).await? == booted, "another boot");
    let mut service = Mmds::open(server, guest).await?;
    let all = service.all(token).await?;
    ensure!(all == expected, "{all} after {expected}");
    chosen_by_auto(server).await?;
    clean(server, "the adoption").await
}

/// Whatever time that takes where all is emulated.
async fn booted(guest: &Guest) -> Result<()> {
    let running = async || {
        let vm = guest.get().await?;
        ensure!(vm.status.state != VmState::Failed, "it failed: {:?}", vm.status.reason);
        Ok((vm.status.state == VmState::Running).then_some(()))
    };
    until("a boot", BOOTED_WITHIN, running).await
}

fn kill_9(pid: u32) -> Result<()> {
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid)?), nix::sys::signal::Signal::SIGKILL)?)
}

/// `kill -9` of the Firecracker, which is no child of this hearth: the policy starts another in a new jail, on the same disks.
async fn killed(server: &Server, guest: &Guest) -> Result<()> {
    let pid = guest.pid().await?;
    let mut events = Follower::open(server.client(), None).await?;
    kill_9(pid)?;
    for kind in ["vm-exited", "vm-restarting"] {
        events.of(&guest.id, kind).await?;
    }
    booted(guest).await?;
    ensure!(guest.sh("head -n 1 /dev/vdc").await? == "kept", "the data drive lost what was written");
    let vm = guest.get().await?;
    ensure!(vm.status.restarts == 1 && guest.pid().await? != pid, "{:?}", vm.status);
    ensure!(!Path::new(&format!("/proc/{pid}/fd")).exists(), "the old process is there");
    clean(server, "the restart").await
}

/// Given while it is stopped: the guest has both, in their order, and hands the first one's address to its metadata.
async fn two_interfaces(server: &Server, guest: &Guest) -> Result<()> {
    let first = guest.address().await?;
    guest.stop(false).await?;
    let vm = guest.reaches(VmState::Stopped).await?;
    ensure!(vm.status.vmm.is_none(), "{:?}", vm.status.vmm);
    clean(server, "the stop").await?;
    let networks = vec!["default".into(), Interface { mac: Some(SECOND_MAC.into()), .."default".into() }];
    let spec = PatchVmSpec { networks: Some(networks), restart: Some(RestartPolicy::Never), ..PatchVmSpec::default() };
    server.client().vms().patch(&guest.id, &PatchVm { spec: Some(spec), ..PatchVm::default() }, &waiting()).await?;
    server.client().vms().start(&guest.id, &CallOptions::default()).await?;
    booted(guest).await?;
    let given = guest.get().await?.status.interfaces;
    let [one, two] = given.as_slice() else { bail!("{given:?}") };
    ensure!(one.address == first && two.mac == SECOND_MAC && two.address != first, "{given:?}");
    for (interface, given) in [("eth0", one), ("eth1", two)] {
        let shown = guest.sh(&format!("ip addr show dev {interface}")).await?;
        ensure!(shown.contains(&format!("inet {}/", given.address)) && shown.contains(&given.mac), "{given:?}: {shown}");
        guest.sh(&format!("ping -c 1 -W 20 -I {} {}", given.address, server.gateway())).await?;
    }
    ensure!(remains::taps(&server.owner()?, Some(&guest.id)).len() == 2);
    let mut service = Mmds::open(server, guest).await?;
    let token = service.token().await?;
    let all = service.all(&token).await?;
    let address = all["hearth"]["address"].as_str().unwrap_or_default();
    ensure!(all["role"] == "db" && address.starts_with(&format!("{first}/")), "{all}");
    clean(server, "the start with two interfaces").await
}

/// Without a policy that starts another: told as killed, and of its jail nothing is left beside the VM's own disks.
async fn killed_for_good(server: &Server, guest: &Guest) -> Result<()> {
    let folder = server.data_dir().join("vms").join(&guest.id);
    ensure!(folder.join("jail").is_dir(), "no jail where one is looked for");
    kill_9(guest.pid().await?)?;
    let reason = guest.reaches(VmState::Failed).await?.status.reason.context("a reason")?;
    ensure!(reason.code == "vmm-killed" && reason.detail.contains("signal 9"), "{reason:?}");
    clean(server, "the end of the process").await?;
    ensure!(!folder.join("jail").exists() && folder.join("disk.raw").is_file(), "the jail stays, or the disk does not");
    let left = remains::of(&server.owner()?, server.data_dir(), Some(&guest.id));
    ensure!(left.len() == 1 && left[0].starts_with("folder "), "{left:?}");
    Ok(())
}

/// Of the server itself nothing stays either.
async fn down(mut server: Server) -> Result<()> {
    server.client().node_down().await?;
    ensure!(server.ended().await?.success());
    let bridge = Path::new("/sys/class/net").join(server.bridge());
    ensure!(!bridge.exists() && !remains::table(&server.bridge()), "the bridge or its table is left after down");
    ensure!(remains::group(&server.owner()?).is_none(), "the server's own cgroup is left after down");
    Ok(())
}

/// With its network.
async fn clean(server: &Server, after: &str) -> Result<()> {
    look::clean(&look::target(server, true)?, after).await
}
