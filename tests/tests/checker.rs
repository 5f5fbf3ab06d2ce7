//! The checker can be believed: whatever is planted that nobody knows of, and whatever is taken away that was promised, it names.

use anyhow::{Context, Result, ensure};
use checker::{
    Kind, Target,
    ledger::{Entry, What, Writer},
};
use hearth_tests::{Guest, Need, Options, Server, guest::create, guest::waiting, images, scenario, small};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(10);

fn target(server: &Server, network: bool) -> Result<Target> {
    Ok(Target {
        data_dir: server.data_dir().to_owned(),
        url: server.url(),
        token: server.token()?,
        bridge: network.then(|| server.bridge()),
        ledger: None,
    })
}

async fn clean(target: &Target, after: &str) -> Result<()> {
    let found = checker::settle(target, SOON).await?;
    ensure!(found.is_empty(), "after {after}: {found:?}");
    Ok(())
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
        Ok(Planted(command.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
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
        let server = Server::start(&machine, Options::qemu()).await?;
        let target = target(&server, true)?;
        let guest = Guest::make(&server, "quiet", small()).await?;
        clean(&target, "a quiet start").await?;
        processes(&server, &target, &guest).await?;
        network(&server, &target).await?;
        folders(&server, &target).await?;

        let booted = Guest::boot(&server, "loud", small()).await?;
        clean(&target, "a boot").await?;
        booted.delete(&server, true).await?;
        clean(&target, "a deletion").await?;
        run(&format!("nft delete table inet hearth_{}", server.bridge()))?;
        finds(&target, Kind::LostRule, &server.bridge()).await
    })
    .await
}

async fn processes(server: &Server, target: &Target, guest: &Guest) -> Result<()> {
    let owner = server.owner()?;
    let marked = Planted::start(Command::new("sleep").arg0(format!("hearth-{owner}-vm_planted")))?;
    finds(target, Kind::OrphanProcess, "vm_planted").await?;
    drop(marked);
    let nameless = Planted::start(Command::new("sleep").current_dir(server.data_dir().join("vms").join(&guest.id)))?;
    finds(target, Kind::OrphanProcess, &guest.id).await?;
    drop(nameless);
    clean(target, "processes").await
}

async fn network(server: &Server, target: &Target) -> Result<()> {
    let (owner, bridge) = (server.owner()?, server.bridge());
    run("ip tuntap add dev hrtplanted mode tap")?;
    run(&format!("ip link set dev hrtplanted alias hearth:{owner}:vm_planted"))?;
    finds(target, Kind::OrphanDevice, "hrtplanted").await?;
    run("ip link del hrtplanted")?;
    run("ip tuntap add dev hrtnobody mode tap")?;
    run(&format!("ip link set dev hrtnobody master {bridge}"))?;
    finds(target, Kind::OrphanDevice, "hrtnobody").await?;
    run("ip link del hrtnobody")?;
    run("nft add table inet hearth_gone")?;
    finds(target, Kind::OrphanRule, "hearth_gone").await?;
    run("nft delete table inet hearth_gone")?;
    run(&format!("nft add rule inet hearth_{bridge} forwarding iifname hrtgone drop"))?;
    finds(target, Kind::OrphanRule, "hrtgone").await?;
    // The rules are put right as a whole by the next interface; here the planted one goes by its handle.
    let listed = Command::new("nft").args(["-a", "list", "table", "inet", &format!("hearth_{bridge}")]).output()?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let planted = text.lines().find(|line| line.contains("hrtgone")).context("the planted rule")?;
    let handle = planted.rsplit(' ').next().context("a handle")?;
    run(&format!("nft delete rule inet hearth_{bridge} forwarding handle {handle}"))?;
    clean(target, "devices, tables and rules").await
}

async fn folders(server: &Server, target: &Target) -> Result<()> {
    let data = server.data_dir();
    let mount = data.join("boot");
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
    for place in ["images/img_planted", "images/by-digest/planted", "boot/partial-planted"] {
        let file = data.join(place);
        fs::write(&file, b"planted")?;
        finds(target, Kind::OrphanFile, "planted").await?;
        fs::remove_file(file)?;
    }
    let folder = data.join("vms/vm_planted");
    fs::create_dir_all(&folder)?;
    finds(target, Kind::OrphanFile, "vm_planted").await?;
    fs::remove_dir(folder)?;
    clean(target, "files").await
}

fn tell(path: &Path, name: &str, leads_to: Option<&str>, id: &str) -> Result<()> {
    let mut writer = Writer::open(path)?;
    let leads_to = leads_to.map(str::to_owned);
    writer.write(&Entry { name: name.into(), what: What::Asked { leads_to } })?;
    writer.write(&Entry { name: name.into(), what: What::Accepted { id: Some(id.into()), operation: None } })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_and_is_not_there_is_named() -> Result<()> {
    scenario("what_was_promised_and_is_not_there_is_named", &[Need::Program("ip")], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        images::pretend(&server).await?;
        let made = server.client().vms().create(&create("real", small(), true), &waiting()).await?;
        let id = made.resource.context("a VM")?.id;
        let folder = tempfile::tempdir()?;
        let with =
            |name: &str| -> Result<Target> { Ok(Target { ledger: Some(folder.path().join(name)), ..target(&server, false)? }) };

        let kept = with("kept")?;
        tell(&folder.path().join("kept"), "real", Some("running"), &id)?;
        clean(&kept, "what was promised was kept").await?;
        tell(&folder.path().join("kept"), "ghost", Some("running"), "vm_ghost")?;
        finds(&kept, Kind::LostVm, "ghost").await?;

        tell(&folder.path().join("other"), "real", Some("paused"), &id)?;
        finds(&with("other")?, Kind::WrongState, "real").await?;
        tell(&folder.path().join("deleted"), "real", None, &id)?;
        finds(&with("deleted")?, Kind::UnknownVm, "real").await?;
        fs::write(folder.path().join("empty"), b"")?;
        finds(&with("empty")?, Kind::UnknownVm, "real").await?;

        // Its machine goes without anybody's doing.
        let notes = server.data_dir().join("simulated.notes");
        let line = fs::read_to_string(&notes)?.lines().last().context("a note")?.replace("\"running\"", "\"killed-9\"");
        fs::write(&notes, format!("{}{line}\n", fs::read_to_string(&notes)?))?;
        finds(&target(&server, false)?, Kind::LostProcess, &id).await
    })
    .await
}
