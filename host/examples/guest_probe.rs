//! Talks to a guest's agent over a unix socket, by hand: `guest_probe SOCKET check|run PROGRAM…|top SECONDS|renet MAC ADDRESS/PREFIX GATEWAY|
//! poweroff|reboot`, and packs the agent:
//! `guest_probe --pack AGENT OUT`. For trying a boot out; not a part of hearth.
use api::guest::{ExecRequest, InterfaceAddress, NetworkConfig, ShutdownKind, Stdin, TtySize};
use host::guest::{ExecEvent, Guest, GuestSession, initramfs};
use std::{
    error::Error,
    io::Write,
    time::{Duration, Instant, SystemTime},
};
use tokio::net::UnixStream;

/// Emulated machines boot slowly when the host is busy.
const HELLO: Duration = Duration::from_secs(120);
const SHUTDOWN: Duration = Duration::from_secs(15);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = std::io::stdout();
    if let ["--pack", agent, archive] = words.as_slice() {
        return Ok(std::fs::write(archive, initramfs::agent_archive(&std::fs::read(agent)?))?);
    }
    let [socket, rest @ ..] = words.as_slice() else {
        return Err("usage: guest_probe SOCKET check|run|top|poweroff|reboot".into());
    };
    let begun = Instant::now();
    let guest = Guest::connect(UnixStream::connect(socket).await?, HELLO).await?;
    writeln!(out, "hello after {:?}: {:?}", begun.elapsed(), guest.info())?;
    match rest {
        ["run", program @ ..] => {
            let argv = program.iter().map(|word| (*word).to_owned()).collect();
            let all = guest.exec(ExecRequest { argv, ..ExecRequest::default() }).await?.collect(1 << 20).await?;
            writeln!(out, "{}{}{:?}", String::from_utf8_lossy(&all.stdout), String::from_utf8_lossy(&all.stderr), all.status)?;
        }
        ["top", seconds] => {
            guest.metrics_interval(Some(Duration::from_secs(1))).await?;
            let mut samples = guest.metrics();
            for _ in 0..seconds.parse::<u32>()? {
                samples.changed().await?;
                writeln!(out, "{:?}", samples.borrow_and_update().clone())?;
            }
        }
        ["renet", mac, address, gateway] => {
            let config = NetworkConfig {
                mac: Some((*mac).to_owned()),
                addresses: InterfaceAddress::parse(address).into_iter().collect(),
                gateways: vec![gateway.parse()?],
                dns: vec![gateway.parse()?],
                hostname: Some("clone".to_owned()),
                ..NetworkConfig::default()
            };
            guest.configure_network(config).await?;
            let mut addresses = guest.addresses();
            let wanted = InterfaceAddress::parse(address).ok_or("an address with its prefix")?;
            let has = |all: &Vec<api::guest::InterfaceAddresses>| all.iter().any(|one| one.addresses.contains(&wanted));
            writeln!(out, "{:?}", addresses.wait_for(has).await?.clone())?;
        }
        ["poweroff"] => end(&guest, ShutdownKind::Poweroff).await?,
        ["reboot"] => end(&guest, ShutdownKind::Reboot).await?,
        _ => check(&guest).await?,
    }
    Ok(())
}

async fn end(guest: &Guest, kind: ShutdownKind) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    guest.shutdown(kind, SHUTDOWN).await?;
    let fault = guest.closed().await;
    writeln!(std::io::stdout(), "gone after {:?}: {fault}", begun.elapsed())?;
    Ok(())
}

async fn check(guest: &Guest) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    writeln!(out, "ping {:?} {:?}", guest.ping().await?, guest.ping().await?)?;
    writeln!(out, "entropy {:?}", guest.add_entropy(&rand::random::<[u8; 32]>()).await)?;
    writeln!(out, "clock {:?}", guest.set_clock(SystemTime::now()).await)?;
    for script in ["uname -r; id -u; cat /proc/1/comm; cat /proc/uptime", "echo err >&2; exit 7", "kill -9 $$"] {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let all = guest.exec(ExecRequest { argv, ..ExecRequest::default() }).await?.collect(1 << 16).await?;
        writeln!(
            out,
            "{script}: {:?} {:?} {:?}",
            String::from_utf8_lossy(&all.stdout),
            String::from_utf8_lossy(&all.stderr),
            all.status
        )?;
    }
    let tty = Some(TtySize { cols: 91, rows: 33 });
    let mut shell = guest.exec(ExecRequest { tty, stdin: Stdin::Stream, ..ExecRequest::default() }).await?;
    shell.stdin.write_all(b"stty size; tty\n").await?;
    shell.control.resize(TtySize { cols: 120, rows: 40 }).await?;
    shell.stdin.write_all(b"stty size\nexit 3\n").await?;
    loop {
        match shell.output.next().await? {
            ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => out.write_all(&bytes)?,
            ExecEvent::Exit(status) => break writeln!(out, "shell: {status:?}")?,
        }
    }
    let size = 64 << 20;
    let argv = ["head", "-c", &size.to_string(), "/dev/urandom"].map(str::to_owned).to_vec();
    let begun = Instant::now();
    let mut bulk = guest.exec(ExecRequest { argv, ..ExecRequest::default() }).await?;
    let (mut got, mut slowest) = (0, Duration::ZERO);
    while let ExecEvent::Stdout(bytes) = bulk.output.next().await? {
        got += bytes.len();
        if got % (8 << 20) < bytes.len() {
            slowest = slowest.max(guest.ping().await?);
        }
    }
    writeln!(out, "{} MiB in {:?}, slowest ping beside it {slowest:?}", got >> 20, begun.elapsed())?;
    writeln!(out, "{:?}\n{:?}", guest.metrics().borrow().clone(), guest.addresses().borrow().clone())?;
    Ok(())
}
