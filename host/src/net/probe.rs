//! Whether this machine can do what the network needs: each thing is really made, in a network namespace that ends with the probe.
//!
//! Nothing outside the namespace is touched. It belongs to a thread of its own, which ends with the probe or, should the kernel hang,
//! is left behind by it.

use super::{NetworkPlan, links::Links, owner, rules, tap};
use nix::sched::{CloneFlags, unshare};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// All steps together take about 20 ms; `nft` alone may take 15 s before it is given up.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// How each step went; the text says why not.
#[derive(Debug)]
pub(crate) struct Probe {
    pub tun: Result<(), String>,
    pub bridge: Result<(), String>,
    /// Two ports that do not reach one another.
    pub isolation: Result<(), String>,
    pub vlan_filtering: Result<(), String>,
    pub rules: Result<(), String>,
}

/// An error is the reason why nothing could be tried.
pub(crate) async fn run() -> Result<Probe, String> {
    let (sender, receiver) = oneshot::channel();
    let thread = move || {
        // Nobody listens any more: the caller's deadline has passed.
        let _ = sender.send(in_namespace());
    };
    std::thread::Builder::new().name("network-probe".to_owned()).spawn(thread).map_err(|error| error.to_string())?;
    match timeout(PROBE_DEADLINE, receiver).await {
        Err(_) => Err(format!("the kernel did not answer within {} s", PROBE_DEADLINE.as_secs())),
        Ok(Err(_)) => Err("the probe broke off".to_owned()),
        Ok(Ok(result)) => result,
    }
}

fn in_namespace() -> Result<Probe, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace can be made ({error})"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(steps())
}

async fn steps() -> Result<Probe, String> {
    let plan =
        NetworkPlan { bridge: "probe0".to_owned(), gateway: Ipv4Addr::new(192, 0, 2, 1), prefix: 24, owner: "probe".to_owned() };
    let links = Links::connect().map_err(|error| error.to_string())?;
    let mac = owner::bridge_mac(&plan.owner, &plan.bridge);
    let bridge = links.add_bridge(&plan.bridge, mac).await.map_err(|error| error.to_string());
    let fresh = tap::Fresh::create("probetap0");
    let isolation = match (&bridge, &fresh) {
        (Ok(()), Ok(_)) => isolate(&links, &plan.bridge).await,
        _ => Err("it needs a bridge and a TAP device".to_owned()),
    };
    Ok(Probe {
        tun: fresh.map(drop).map_err(|error| error.to_string()),
        bridge,
        isolation,
        vlan_filtering: links.add_vlan_bridge("probe1").await.map_err(|error| error.to_string()),
        rules: rules::apply(&plan).await.map_err(|error| error.to_string()),
    })
}

async fn isolate(links: &Links, bridge: &str) -> Result<(), String> {
    let index = async |name| match links.find(name).await {
        Ok(Some(link)) => Ok(link.index),
        Ok(None) => Err(format!("{name} vanished")),
        Err(error) => Err(error.to_string()),
    };
    let (bridge, tap) = (index(bridge).await?, index("probetap0").await?);
    links.join(tap, "hearth:probe:probe", bridge).await.map_err(|error| error.to_string())?;
    match links.find("probetap0").await {
        Ok(Some(link)) if link.isolated == Some(true) => Ok(()),
        Ok(_) => Err("the kernel took the flag and did not set it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
