//! A distribution's cloud image, as its users use it: cloud-init configures it by hearth's seed, and OpenSSH reaches it. Minutes under
//! emulation; skipped where `make image-debian-cloud` has not made the image.

use anyhow::{Context, Result, ensure};
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server,
    command::{Ran, finish_within, hearth, ok, run},
    guest::nothing_left,
    images, scenario_within,
    ssh::Ssh,
    terminal::Typist,
    within,
};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::io::{AsyncBufReadExt, BufReader};

const IMAGE: &str = "debian-cloud";
/// A boot with cloud-init takes 95 s under emulation on an idle machine, and was seen to take 170 s on a busy one.
const CONFIGURED_WITHIN: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(1500);
/// More than any buffer on the way.
const LARGE: usize = 12 << 20;

const NEEDS: [Need; 5] = [Need::Guests, Need::Network, Need::Image(IMAGE), Need::Program("ssh"), Need::Program("scp")];

const USER_DATA: &str = "#cloud-config
write_files:
  - {path: /etc/written, content: first}
runcmd:
  - echo ran >> /var/local/ran
";
const OTHER_USER_DATA: &str = "#cloud-config
bootcmd:
  - echo booted >> /var/local/booted
write_files:
  - {path: /etc/written, content: second}
runcmd:
  - echo ran again >> /var/local/ran
";

/// `hearth …` that may take as long as a boot.
async fn patient(server: &Server, arguments: &[&str]) -> Result<Ran> {
    finish_within(CONFIGURED_WITHIN, hearth(server, arguments)?, None, &arguments.join(" ")).await
}

/// cloud-init is through, content, and has read hearth's seed; the system has no unit that failed.
async fn configured(server: &Server, guest: &Guest) -> Result<()> {
    let ran = patient(server, &["vm", "exec", &guest.name, "--timeout", "290", "--", "cloud-init", "status", "--wait", "--long"])
        .await?;
    ensure!(ran.code == Some(0) && ran.stdout.contains("status: done"), "{ran:?}");
    ensure!(ran.stdout.contains("DataSourceNoCloud [seed=/dev/vdb]"), "{ran:?}");
    let result: Value = serde_json::from_str(&guest.sh("cat /run/cloud-init/result.json").await?)?;
    ensure!(result["v1"]["errors"] == Value::Array(vec![]), "{result}");
    let failed = guest.sh("systemctl --failed --no-legend").await?;
    ensure!(failed.is_empty(), "{failed}");
    Ok(())
}

/// One address, one way out, one resolver: what hearth says and what cloud-init set up are the same, and networkd took it over as it was.
async fn network(server: &Server, guest: &Guest) -> Result<()> {
    let address = guest.address().await?;
    let addresses = guest.sh("ip -4 -o address show dev eth0 | awk '{print $4}'").await?;
    ensure!(addresses == format!("{address}/16"), "{addresses}, and hearth says {address}");
    let routes = guest.sh("ip -4 route show default").await?;
    ensure!(
        routes.starts_with(&format!("default via {} dev eth0 ", server.gateway())) && routes.lines().count() == 1,
        "{routes}"
    );
    let named = guest.sh("cat /etc/netplan/50-cloud-init.yaml").await?;
    ensure!(named.contains(&format!("- {address}/16")) && named.contains(&format!("via: {}", server.gateway())), "{named}");
    let told =
        guest.sh("tr ' ' '\\n' </proc/cmdline | sed -n 's/^hearth.dns=//p' | tr ',' '\\n' | sed 's/^/nameserver /'").await?;
    let resolver = guest.sh("cat /etc/resolv.conf").await?;
    ensure!(resolver == told, "{resolver:?} of {told:?}");
    let state = guest.sh("networkctl --no-legend list eth0").await?;
    ensure!(state.contains("routable") && state.contains("configured"), "{state}");
    let lost = guest.sh("journalctl -b -u systemd-networkd | grep -ciE 'lost carrier|eth0: link down' || true").await?;
    ensure!(lost == "0", "eth0 was taken down {lost} times");
    Ok(())
}

/// The serial console asks for the password that was shown, and takes no other. What it said before is shown first, its prompt among it: a
/// newline to have another would be an answer to the prompt that is coming.
async fn logs_in_on_the_console(server: &Server, guest: &Guest, password: &str) -> Result<()> {
    let mut console = Typist::of(server.client().console(&guest.id).await?);
    for (word, answer) in [("wrong-horse", "Login incorrect"), (password, "debian@app:~$")] {
        console.expect("app login: ").await?;
        console.type_in("debian\n").await?;
        console.expect("Password: ").await?;
        console.type_in(&format!("{word}\n")).await?;
        console.expect(answer).await?;
    }
    console.ask("echo $((6 * 7)) is $(id -un)", "42 is debian").await?;
    console.type_in("exit\n").await?;
    console.expect("app login: ").await
}

/// Commands, and files both ways: by hearth as ssh's proxy, and to a forwarded port.
async fn reached_by_ssh(server: &Server, ssh: &Ssh, folder: &Path) -> Result<()> {
    let said = ssh.by_proxy("ssh", &["debian@app", "id -un; sudo -n id -un; hostname"]).await?;
    ensure!(said == "debian\nroot\napp\n", "{said:?}");
    let large: Vec<u8> = (0..LARGE).map(|at| (at * at % 253) as u8).collect();
    let (there, back) = (folder.join("there").display().to_string(), folder.join("back").display().to_string());
    std::fs::write(&there, &large)?;
    ssh.by_proxy("scp", &[&there, "debian@app:large"]).await?;
    let mut forward = hearth(server, &["vm", "forward", "app", "0:22", "-o", "json"])?.spawn()?;
    let mut lines = BufReader::new(forward.stdout.take().context("stdout")?).lines();
    let told = within("where it listens", PATIENCE, lines.next_line()).await??.context("it ended")?;
    let told: Value = serde_json::from_str(&told)?;
    let port = told["local"].as_str().and_then(|local| local.rsplit(':').next()).with_context(|| told.to_string())?;
    ssh.by_port("scp", port, &["debian@127.0.0.1:large", &back]).await?;
    ensure!(std::fs::read(&back)? == large, "the file came back as another");
    forward.kill().await?;
    Ok(())
}

/// The whole of docs/CLOUD-INIT.md's first page, by the command line alone where it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_image_comes_up_configured() -> Result<()> {
    scenario_within("a_cloud_image_comes_up_configured", &NEEDS, LONGEST, async |machine| {
        let server = Server::start(&machine, Options::qemu()).await?;
        images::import(&server, &images::entry(&machine, IMAGE)?).await?;
        let folder = tempfile::tempdir()?;
        let ssh = Ssh::prepare(&server, folder.path()).await?;
        let (first, second) = (folder.path().join("first.yaml"), folder.path().join("second.yaml"));
        std::fs::write(&first, USER_DATA)?;
        std::fs::write(&second, OTHER_USER_DATA)?;
        let (first, second, key) = (first.display().to_string(), second.display().to_string(), ssh.public_key_file());
        let create =
            ["vm", "create", "app", "--image", IMAGE, "--mem", "512M", "--ssh-key", &key, "--user-data", &first, "--password"];
        let made = ok(&server, &create).await?;
        let shown = "the password of the image's default user, shown this once: ";
        let password = made.lines().find_map(|line| line.strip_prefix(shown)).context(made.clone())?.to_owned();
        let guest = Guest::named(&server, "app").await?;

        configured(&server, &guest).await?;
        ensure!(guest.sh("hostname; cat /etc/hostname").await? == "app\napp");
        network(&server, &guest).await?;
        let keys = guest.sh("cat /home/debian/.ssh/authorized_keys").await?;
        ensure!(keys == std::fs::read_to_string(&key)?.trim(), "{keys}");
        ensure!(guest.sh("cat /etc/written").await? == "first");
        ensure!(guest.sh("cat /var/local/ran").await? == "ran");
        ensure!(guest.sh("cat /var/lib/cloud/data/instance-id").await? == guest.id);
        let instance = guest.sh("cat /etc/machine-id").await?;
        logs_in_on_the_console(&server, &guest, &password).await?;
        reached_by_ssh(&server, &ssh, folder.path()).await?;

        ok(&server, &["vm", "reboot", "app"]).await?;
        configured(&server, &guest).await?;
        ensure!(guest.sh("cat /var/local/ran").await? == "ran", "what is done once was done again by a reboot");

        // Another user data is there from the next start on, for the same instance: what is done once stays done.
        ok(&server, &["vm", "stop", "app"]).await?;
        ok(&server, &["vm", "update", "app", "--user-data", &second]).await?;
        ok(&server, &["vm", "start", "app"]).await?;
        configured(&server, &guest).await?;
        network(&server, &guest).await?;
        let seen = guest.sh("cloud-init query userdata").await?;
        ensure!(seen == OTHER_USER_DATA.trim(), "{seen}");
        ensure!(guest.sh("cat /etc/written; echo; cat /var/local/ran").await? == "first\nran");
        ensure!(guest.sh("cat /var/lib/cloud/data/instance-id /etc/machine-id").await? == format!("{}\n{instance}", guest.id));
        ensure!(guest.sh("cat /var/local/booted").await? == "booted", "what is done at each boot was not");
        // With the host key of the first boot, which ssh insists on.
        ensure!(ssh.by_proxy("ssh", &["debian@app", "cat /etc/written"]).await? == "first");
        ensure!(ssh.known_hosts()?.lines().filter(|line| line.starts_with("app ")).count() == 1);
        let log = server.log();
        ensure!(!log.contains(&password) && run(&server, &["vm", "get", "app", "-o", "json"]).await?.stdout.contains("\"set\""));
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}
