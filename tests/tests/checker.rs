//! The checker can be believed: whatever is planted that nobody knows of, and whatever is taken away that was promised, it names.

use anyhow::{Context, Result, ensure};
use api::v1::{CreateImage, ImageKind, ImageSpec, Labels};
use checker::{
    Failures, Kind, Target,
    ledger::{Entry, What, Writer},
};
use hearth_tests::{
    Guest, Need, Options, Server,
    guest::{create, waiting},
    images,
    look::{self, clean},
    scenario, small,
};
use std::{
    fs,
    os::unix::{net::UnixListener, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
};

/// In the server's environment.
const MARK: (&str, &str) = ("HEARTH_CHECKED", "by-the-test");

fn target(server: &Server, network: bool) -> Result<Target> {
    Ok(Target { environment: Some(format!("{}={}", MARK.0, MARK.1)), ..look::target(server, network)? })
}

async fn finds(target: &Target, kind: Kind, word: &str) -> Result<()> {
    let found = checker::look(target).await?;
    ensure!(found.iter().any(|finding| finding.kind == kind && finding.what.contains(word)), "no {kind:?} {word} in {found:?}");
    // By itself: one thing is one finding of its kind, and none of others' kinds.
    ensure!(found.iter().all(|finding| finding.kind == kind), "{found:?}");
    Ok(())
}

fn run(line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().with_context(|| line.to_owned())?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A process of ours, ended when it is dropped.
struct Planted(Child);

impl Planted {
    fn start(command: &mut Command) -> Result<Planted> {
        Ok(Planted(command.arg("60").stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_planted_is_named() -> Result<()> {
    let needs = [Need::Guests, Need::Network, Need::Mounts, Need::Program("nft")];
    scenario("whatever_is_planted_is_named", &needs, async |machine| {
        let mut options = Options::qemu();
        options.environment.push((MARK.0.to_owned(), MARK.1.to_owned()));
        let server = Server::start(&machine, options).await?;
        let target = target(&server, true)?;
        let guest = Guest::make(&server, "quiet", small()).await?;
        clean(&target, "a quiet start").await?;
        processes(&server, &target, &guest).await?;
        devices(&server, &target).await?;
        rules(&server, &target).await?;
        mounts_and_groups(&server, &target).await?;
        files(&server, &target, &guest).await?;
        running(&server, &target).await
    })
    .await
}

/// By each way in which a process may be hearth's.
async fn processes(server: &Server, target: &Target, guest: &Guest) -> Result<()> {
    let (owner, data) = (server.owner()?, server.data_dir());
    let marked = Planted::start(Command::new("sleep").arg0(format!("hearth-{owner}-vm_planted")))?;
    finds(target, Kind::OrphanProcess, "vm_planted").await?;
    drop(marked);
    let nameless = Planted::start(Command::new("sleep").current_dir(data.join("vms").join(&guest.id)))?;
    finds(target, Kind::OrphanProcess, &guest.id).await?;
    drop(nameless);
    let open = Planted::start(Command::new("sleep").stdin(fs::File::open(data.join("id"))?))?;
    finds(target, Kind::OrphanProcess, "open").await?;
    drop(open);
    let naming = Planted::start(Command::new("sleep").arg0(data.join("images/x")))?;
    finds(target, Kind::OrphanProcess, "arguments").await?;
    drop(naming);
    let child = Planted::start(Command::new("sleep").env(MARK.0, MARK.1))?;
    finds(target, Kind::OrphanProcess, "environment").await?;
    drop(child);
    clean(target, "processes").await
}

async fn devices(server: &Server, target: &Target) -> Result<()> {
    let (owner, bridge) = (server.owner()?, server.bridge());
    run("ip tuntap add dev hrtplanted mode tap")?;
    run(&format!("ip link set dev hrtplanted alias hearth:{owner}:vm_planted"))?;
    finds(target, Kind::OrphanDevice, "hrtplanted").await?;
    run("ip link del hrtplanted")?;
    run("ip tuntap add dev hrtnobody mode tap")?;
    run(&format!("ip link set dev hrtnobody master {bridge}"))?;
    finds(target, Kind::OrphanDevice, "hrtnobody").await?;
    run("ip link del hrtnobody")?;
    clean(target, "devices").await
}

async fn rules(server: &Server, target: &Target) -> Result<()> {
    let table = format!("inet hearth_{}", server.bridge());
    run("nft add table inet hearth_gone")?;
    finds(target, Kind::OrphanRule, "hearth_gone").await?;
    run("nft delete table inet hearth_gone")?;
    run(&format!("nft add rule {table} forwarding iifname hrtgone drop"))?;
    finds(target, Kind::OrphanRule, "forwarding has 7").await?;
    run(&format!("nft delete rule {table} forwarding handle {}", handle(&table, "hrtgone")?))?;
    run(&format!("nft add set {table} planted {{ type ipv4_addr; }}"))?;
    run(&format!("nft add element {table} planted {{ 10.0.0.9 }}"))?;
    finds(target, Kind::OrphanRule, "planted").await?;
    run(&format!("nft delete set {table} planted"))?;
    run(&format!("nft add chain {table} planted"))?;
    finds(target, Kind::OrphanRule, "planted").await?;
    run(&format!("nft delete chain {table} planted"))?;
    clean(target, "tables and rules").await?;
    // The other way round: what guests depend on is not there.
    run(&format!("nft delete rule {table} leaving handle {}", handle(&table, "masquerade")?))?;
    finds(target, Kind::LostRule, "leaving has 0").await?;
    run(&format!("nft add rule {table} leaving masquerade"))?;
    clean(target, "a rule that came back").await
}

fn handle(table: &str, word: &str) -> Result<String> {
    let listed = Command::new("nft").args(["-a", "list", "table"]).args(table.split(' ')).output()?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let line = text.lines().find(|line| line.contains(word)).with_context(|| format!("no rule {word} in {text}"))?;
    Ok(line.rsplit(' ').next().context("a handle")?.to_owned())
}

async fn mounts_and_groups(server: &Server, target: &Target) -> Result<()> {
    let mount = server.data_dir().join("boot");
    fs::create_dir_all(&mount)?;
    run(&format!("mount -t tmpfs planted {}", mount.display()))?;
    let found = finds(target, Kind::OrphanMount, "boot").await;
    run(&format!("umount {}", mount.display()))?;
    found?;
    if let Some(hierarchy) = checker::hierarchy() {
        let group = hierarchy.join(format!("hearth-{}", server.owner()?)).join("vm_planted");
        fs::create_dir_all(&group)?;
        let found = finds(target, Kind::OrphanGroup, "vm_planted").await;
        fs::remove_dir(&group)?;
        found?;
    }
    clean(target, "mounts and cgroups").await
}

async fn files(server: &Server, target: &Target, guest: &Guest) -> Result<()> {
    let data = server.data_dir();
    let places = [
        "planted".to_owned(),
        "id.new".to_owned(),
        "journal/planted".to_owned(),
        "journal/snap.1.generating".to_owned(),
        "journal/blobs/planted".to_owned(),
        "images/img_planted".to_owned(),
        "images/by-digest/planted".to_owned(),
        "boot/partial-planted".to_owned(),
        "secrets/webhook_planted".to_owned(),
        format!("vms/{}/disk.partial", guest.id),
    ];
    for place in places {
        let file = data.join(&place);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(&file, b"planted")?;
        finds(target, Kind::OrphanFile, &place).await?;
        fs::remove_file(file)?;
    }
    let socket = data.join("vms").join(&guest.id).join("qmp.sock");
    drop(UnixListener::bind(&socket)?);
    finds(target, Kind::OrphanFile, "qmp.sock").await?;
    fs::remove_file(socket)?;
    let root = data.join("vms").join(&guest.id).join("root-1");
    fs::create_dir(&root)?;
    finds(target, Kind::OrphanFile, "root-1").await?;
    fs::write(root.join("planted"), b"planted")?;
    finds(target, Kind::OrphanFile, "root-1/planted").await?;
    fs::remove_dir_all(root)?;
    let folder = data.join("vms/vm_planted");
    fs::create_dir_all(&folder)?;
    finds(target, Kind::OrphanFile, "vm_planted").await?;
    fs::remove_dir(folder)?;
    clean(target, "files").await?;
    // The other way round.
    let disk = data.join("vms").join(&guest.id).join("disk.qcow2");
    let aside = data.with_extension("aside");
    fs::rename(&disk, &aside)?;
    finds(target, Kind::LostFile, &guest.id).await?;
    fs::rename(&aside, &disk)?;
    clean(target, "a disk that came back").await
}

/// With a guest that runs: what is its own is no finding, what is not there or is too much of it is.
async fn running(server: &Server, target: &Target) -> Result<()> {
    let booted = Guest::boot(server, "loud", small()).await?;
    clean(target, "a boot").await?;
    roots(server, target, &booted).await?;
    if let Some(hierarchy) = checker::hierarchy() {
        let group = hierarchy.join(format!("hearth-{}", server.owner()?)).join(&booted.id);
        let stranger = Planted::start(&mut Command::new("sleep"))?;
        fs::write(group.join("cgroup.procs"), stranger.0.id().to_string())?;
        finds(target, Kind::OrphanProcess, "is in the cgroup").await?;
        drop(stranger);
    }
    let tap = hearth_tests::remains::taps(&server.owner()?, Some(&booted.id)).pop().context("a TAP")?;
    run(&format!("ip link set dev {tap} nomaster"))?;
    finds(target, Kind::LostDevice, &tap).await?;
    run(&format!("ip link set dev {tap} master {}", server.bridge()))?;
    clean(target, "a device that came back").await?;
    booted.delete(server, true).await?;
    clean(target, "a deletion").await?;
    run(&format!("nft delete table inet hearth_{}", server.bridge()))?;
    finds(target, Kind::LostRule, &server.bridge()).await
}

/// The root of a guest's process stays empty.
async fn roots(server: &Server, target: &Target, guest: &Guest) -> Result<()> {
    let is_root = |path: &std::path::PathBuf| path.to_string_lossy().contains("/root-");
    let folder = server.data_dir().join("vms").join(&guest.id);
    let Some(root) = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).find(is_root) else {
        ensure!(!nix::unistd::geteuid().is_root(), "a guest that hearth starts as root has no root of its own");
        return Ok(());
    };
    fs::write(root.join("planted"), b"planted")?;
    finds(target, Kind::OrphanFile, "planted").await?;
    fs::remove_file(root.join("planted"))?;
    clean(target, "a root that is empty again").await
}

fn tell(path: &Path, name: &str, leads_to: Option<&str>, id: &str, operation: Option<&str>) -> Result<()> {
    let mut writer = Writer::open(path)?;
    let (leads_to, operation) = (leads_to.map(str::to_owned), operation.map(str::to_owned));
    writer.write(&Entry { name: name.into(), what: What::Asked { leads_to } })?;
    writer.write(&Entry { name: name.into(), what: What::Accepted { id: Some(id.into()), operation } })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_and_is_not_there_is_named() -> Result<()> {
    scenario("what_was_promised_and_is_not_there_is_named", &[Need::Program("ip")], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        images::pretend(&server).await?;
        let made = server.client().vms().create(&create("real", small(), true), &waiting()).await?;
        let id = made.resource.context("a VM")?.id;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let with = |name: &str| -> Result<Target> { Ok(Target { ledger: Some(path(name)), ..target(&server, false)? }) };

        let kept = with("kept")?;
        tell(&path("kept"), "real", Some("running"), &id, None)?;
        clean(&kept, "what was promised was kept").await?;
        tell(&path("kept"), "ghost", Some("running"), "vm_ghost", None)?;
        finds(&kept, Kind::LostVm, "ghost").await?;

        tell(&path("other"), "real", Some("paused"), &id, None)?;
        finds(&with("other")?, Kind::WrongState, "real").await?;
        tell(&path("deleted"), "real", None, &id, None)?;
        finds(&with("deleted")?, Kind::UnknownVm, "real").await?;
        tell(&path("another"), "real", Some("running"), "vm_another", None)?;
        finds(&with("another")?, Kind::UnknownVm, "vm_another").await?;
        tell(&path("forgotten"), "real", Some("running"), &id, Some("op_00000000000000000000000000"))?;
        finds(&with("forgotten")?, Kind::LostOperation, "op_0000").await?;
        fs::write(path("empty"), b"")?;
        finds(&with("empty")?, Kind::UnknownVm, "real").await?;

        // Its machine goes without anybody's doing.
        let notes = server.data_dir().join("simulated.notes");
        let line = fs::read_to_string(&notes)?.lines().last().context("a note")?.replace("\"running\"", "\"killed-9\"");
        fs::write(&notes, format!("{}{line}\n", fs::read_to_string(&notes)?))?;
        finds(&target(&server, false)?, Kind::LostProcess, &id).await
    })
    .await
}

/// Where nothing may fail, what failed is told; where it may, not.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_failed_is_named() -> Result<()> {
    scenario("an_operation_that_failed_is_named", &[Need::Program("ip")], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        let spec =
            ImageSpec { kind: ImageKind::Rootfs, path: "/nowhere".into(), initrd: None, default: false, description: None };
        let create = CreateImage { name: "nowhere".into(), project: None, labels: Labels::new(), spec };
        let made = server.client().images().create(&create, &waiting()).await;
        ensure!(made.is_err(), "an image was made of nothing");
        let strict = target(&server, false)?;
        finds(&strict, Kind::FailedOperation, "image-create").await?;
        clean(&Target { failures: Failures::Allowed, ..strict }, "a failure that may be").await
    })
    .await
}
