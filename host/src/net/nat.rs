//! The NAT network of a real machine: the bridge, its address, forwarding and the rules, and a TAP device per VM.
//!
//! What is changed on the machine, all of it: the bridge `plan.bridge` and its TAP devices, the table `inet hearth_<bridge>`, and
//! `net.ipv4.ip_forward`, which is switched on if it is off and then left on (others may have come to rely on it; `hearth down` does
//! not switch it off). Per-device forwarding is no way round that: answers arrive on the uplink, which would need it too.
//!
//! Whose a device is stands in its alias, and of a TAP also what it is bound to, so that a bridge that has to be made again binds those of the VMs
//! that run, whichever hearth bound them. **A bridge belongs to one hearth**: a second one with another data directory is refused with
//! the sentence what to do, it does not share. Sharing would let two address pools give the same address twice.
//!
//! Concurrency: `ensure` and `tear_down` take turns; `attach` and `detach` of different VMs may run at once.

mod bridge;

use super::{
    Interface, NetError, Network, NetworkPlan, Traffic,
    links::{Link, LinkError, Links},
    owner::{self, Bound, Mark},
    rules, tap,
};
use async_trait::async_trait;
use domain::VmId;
use rtnetlink::packet_route::link::InfoKind;
use std::{io, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// From `fork` to `exec` a child takes a millisecond; on a machine that is out of breath, much longer.
const FREE_DEADLINE: Duration = Duration::from_secs(5);
const FREE_LOOK: Duration = Duration::from_millis(1);

pub struct NatNetwork {
    plan: NetworkPlan,
    links: Links,
    /// Held while the bridge and the rules are made or removed.
    shape: Mutex<()>,
}

impl NatNetwork {
    /// Connects to the kernel; makes nothing yet. Needs a tokio runtime.
    pub fn open(plan: NetworkPlan) -> Result<NatNetwork, NetError> {
        let refuse = |detail: &str| NetError::Bridge { bridge: plan.bridge.clone(), detail: detail.to_owned() };
        if !owner::is_device_name(&plan.bridge) {
            return Err(refuse("a device name has 1 to 15 letters, digits, '-', '_' or '.', and begins with a letter or digit"));
        }
        if !owner::is_owner(&plan.owner) {
            return Err(refuse("the owner's name must be 1 to 200 printable characters without spaces"));
        }
        if !(1..=30).contains(&plan.prefix) {
            return Err(refuse("the subnet's prefix must be 1 to 30"));
        }
        let links = Links::connect().map_err(|error| NetError::NotPermitted { detail: error.to_string() })?;
        Ok(NatNetwork { plan, links, shape: Mutex::new(()) })
    }

    fn bridge_error(&self, error: LinkError) -> NetError {
        if error.is_permission() {
            return NetError::NotPermitted { detail: format!("{error}: run as root or with CAP_NET_ADMIN") };
        }
        if error.is(nix::errno::Errno::EOPNOTSUPP) {
            return self.bridge_refused(format!("{error}: load the module (modprobe bridge)"));
        }
        self.bridge_refused(error.to_string())
    }

    fn bridge_refused(&self, detail: String) -> NetError {
        NetError::Bridge { bridge: self.plan.bridge.clone(), detail }
    }

    /// On the bridge, isolated, marked and up: whatever is not so is put right.
    async fn put_right(&self, link: &Link, alias: &str, bridge: u32) -> Result<(), LinkError> {
        let right =
            link.is_up && link.controller == Some(bridge) && link.isolated == Some(true) && link.alias.as_deref() == Some(alias);
        if right {
            return Ok(());
        }
        self.links.join(link.index, alias, bridge).await
    }

    /// See [`Network::bind`].
    async fn tie(&self, link: &Link, bound: Bound, bridge: u32) -> Result<(), LinkError> {
        self.links.lock_port(link.index, bound.mac).await?;
        self.links.settle_neighbour(bridge, bound.address, bound.mac).await
    }

    /// An existing device of the TAP's name is ours to change if it is a TAP that our alias names, or one without alias on our bridge.
    fn check_tap(&self, link: &Link, bridge: u32) -> Result<(), NetError> {
        let refuse = |detail: String| Err(NetError::Tap { tap: link.name.clone(), detail });
        if link.kind != Some(InfoKind::Tun) {
            return refuse("a device of this name exists and is no TAP: remove it".to_owned());
        }
        match link.alias.as_deref().filter(|alias| !alias.is_empty()) {
            None if link.controller == Some(bridge) => Ok(()),
            None => refuse("a TAP of this name exists and is not hearth's: remove it".to_owned()),
            Some(alias) => match Mark::parse(alias) {
                Some(mark) if mark.owner == self.plan.owner => Ok(()),
                Some(mark) => refuse(format!("it belongs to another hearth on this machine ({})", mark.owner)),
                None => refuse(format!("a TAP of this name exists and is not hearth's ({alias}): remove it")),
            },
        }
    }

    /// The index of the bridge, for what is done to that TAP.
    async fn bridge_for(&self, tap: &str) -> Result<u32, NetError> {
        match self.links.find(&self.plan.bridge).await.map_err(|error| tap_error(tap, error))? {
            Some(link) => self.check_bridge(&link).map(|()| link.index),
            // Someone removed it: make it again, rules and all.
            None => {
                self.ensure().await?;
                let found = self.links.find(&self.plan.bridge).await.map_err(|error| tap_error(tap, error))?;
                found.map(|link| link.index).ok_or_else(|| self.bridge_refused("someone removes it again and again".to_owned()))
            }
        }
    }

    /// Waits until no program holds the TAP's other end. Ours is closed, but a child that another thread is starting just now has a copy
    /// of it until its `exec`, and a VMM that comes earlier is refused with EBUSY. Such a copy was seen once in a dozen runs of the tests.
    pub(super) async fn until_free(&self, tap: &str) -> Result<(), NetError> {
        let deadline = Instant::now() + FREE_DEADLINE;
        while self.links.find(tap).await.map_err(|error| tap_error(tap, error))?.is_some_and(|link| link.has_carrier) {
            if Instant::now() >= deadline {
                let detail = format!("another program holds it for longer than {} s", FREE_DEADLINE.as_secs());
                return Err(NetError::Tap { tap: tap.to_owned(), detail });
            }
            sleep(FREE_LOOK).await;
        }
        Ok(())
    }

    /// Puts TAP devices of running VMs back on a bridge that someone removed, or took them off, and binds them: a port that is new is open to all,
    /// and a bridge that is new knows nobody. Also where they seem to be right, since what a bridge knows is not looked at.
    async fn rejoin(&self, bridge: u32) -> Result<(), NetError> {
        for link in self.own_taps().await? {
            let alias = link.alias.clone().unwrap_or_default();
            let rejoined = async {
                self.put_right(&link, &alias, bridge).await?;
                match Mark::parse(&alias).and_then(|mark| mark.bound) {
                    Some(bound) => self.tie(&link, bound, bridge).await,
                    None => Ok(()),
                }
            };
            match rejoined.await {
                // Detached in the meantime.
                Err(error) if error.is(nix::errno::Errno::ENODEV) => {}
                other => other.map_err(|error| tap_error(&link.name, error))?,
            }
        }
        Ok(())
    }

    /// Takes back what a first `ensure` made before it failed.
    pub(super) async fn undo(&self) -> Result<(), NetError> {
        let _turn = self.shape.lock().await;
        if let Some(link) = self.links.find(&self.plan.bridge).await.map_err(|error| self.bridge_error(error))? {
            self.check_bridge(&link)?;
            self.links.remove(link.index).await.map_err(|error| self.bridge_error(error))?;
        }
        Ok(())
    }

    pub(super) async fn has_bridge(&self) -> Result<bool, NetError> {
        Ok(self.links.find(&self.plan.bridge).await.map_err(|error| self.bridge_error(error))?.is_some())
    }

    /// A MAC may be whatever a user wrote. Whether another VM has it is known where VMs are made.
    fn check_macs(&self, interfaces: &[Interface]) -> Result<(), NetError> {
        for (index, Interface { tap, mac, .. }) in interfaces.iter().enumerate() {
            let refuse = |detail: &str| Err(NetError::Tap { tap: tap.clone(), detail: detail.to_owned() });
            if mac[0] & 1 == 1 || *mac == [0; 6] {
                return refuse("its MAC is none that one interface can have");
            }
            // What is for the host would go to the VM.
            if self.own_mac() == Some(*mac) {
                return refuse("its MAC is the bridge's own");
            }
            // The bridge knows one port for a MAC.
            if interfaces.iter().take(index).any(|earlier| earlier.mac == *mac) {
                return refuse("another interface of the VM has its MAC");
            }
        }
        Ok(())
    }

    /// Whether that alias says that the TAP is the VM's, bound or not.
    fn is_of(&self, alias: &str, vm: VmId) -> bool {
        Mark::parse(alias).is_some_and(|mark| mark.owner == self.plan.owner && mark.what == vm.to_string())
    }

    /// Every TAP device of this owner on the machine.
    async fn own_taps(&self) -> Result<Vec<Link>, NetError> {
        let all = self.links.all().await.map_err(|error| self.bridge_error(error))?;
        let own = |link: &Link| {
            link.kind == Some(InfoKind::Tun)
                && link.alias.as_deref().and_then(Mark::parse).is_some_and(|mark| mark.owner == self.plan.owner)
        };
        Ok(all.into_iter().filter(own).collect())
    }
}

#[async_trait]
impl Network for NatNetwork {
    async fn ensure(&self) -> Result<(), NetError> {
        let _turn = self.shape.lock().await;
        let bridge = self.ensure_bridge().await?;
        self.ensure_address(bridge.index).await?;
        self.rejoin(bridge.index).await?;
        // The rules before the switch: at no moment does the machine forward for guests unfiltered.
        rules::apply(&self.plan).await?;
        bridge::switch_forwarding_on()
    }

    async fn attach(&self, vm: VmId, tap: &str) -> Result<(), NetError> {
        if !owner::is_device_name(tap) {
            return Err(NetError::Tap { tap: tap.to_owned(), detail: "this is no name for a device".to_owned() });
        }
        let bridge = self.bridge_for(tap).await?;
        let mut alias = owner::tap_alias(&self.plan.owner, vm);
        if let Some(link) = self.links.find(tap).await.map_err(|error| tap_error(tap, error))? {
            self.check_tap(&link, bridge)?;
            // What it is bound to stays until it is bound to something else.
            alias = link.alias.clone().filter(|told| self.is_of(told, vm)).unwrap_or(alias);
            return self.put_right(&link, &alias, bridge).await.map_err(|error| tap_error(tap, error));
        }
        let fresh = tap::Fresh::create(tap).map_err(|error| tun_error(tap, &error))?;
        let made = self.links.find(tap).await.map_err(|error| tap_error(tap, error))?;
        let made =
            made.ok_or_else(|| NetError::Tap { tap: tap.to_owned(), detail: "it vanished right after it was made".to_owned() })?;
        self.put_right(&made, &alias, bridge).await.map_err(|error| tap_error(tap, error))?;
        fresh.keep().map_err(|error| tun_error(tap, &error))?;
        self.until_free(tap).await
    }

    fn own_mac(&self) -> Option<[u8; 6]> {
        Some(owner::bridge_mac(&self.plan.owner, &self.plan.bridge))
    }

    /// A port takes frames from its interface's MAC only, and the host sends what is for an address to its interface's MAC whatever ARP says:
    /// a guest that answers for one of its addresses from another of its interfaces, as Linux does, changes nothing. The port's entry goes
    /// with the TAP; the neighbour's stays until its address is bound again or the bridge goes.
    async fn bind(&self, vm: VmId, interfaces: &[Interface]) -> Result<(), NetError> {
        self.check_macs(interfaces)?;
        let Some(first) = interfaces.first() else { return Ok(()) };
        let bridge = self.bridge_for(&first.tap).await?;
        for Interface { tap, address, mac } in interfaces {
            let failed = |error| tap_error(tap, error);
            let refuse = |detail: &str| NetError::Tap { tap: tap.clone(), detail: detail.to_owned() };
            let link = self.links.find(tap).await.map_err(failed)?.ok_or_else(|| refuse("it is gone: attach it first"))?;
            self.check_tap(&link, bridge)?;
            if !link.alias.as_deref().is_some_and(|alias| self.is_of(alias, vm)) {
                return Err(refuse("it is another VM's"));
            }
            let bound = Bound { mac: *mac, address: *address };
            let alias = owner::bound_alias(&self.plan.owner, vm, bound);
            if link.alias.as_ref() != Some(&alias) {
                self.links.mark(link.index, &alias).await.map_err(failed)?;
            }
            self.tie(&link, bound, bridge).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn traffic(&self, tap: &str) -> Result<Option<Traffic>, NetError> {
        self.links.traffic(tap).await.map_err(|error| tap_error(tap, error))
    }

    async fn detach(&self, tap: &str) -> Result<(), NetError> {
        let Some(link) = self.links.find(tap).await.map_err(|error| tap_error(tap, error))? else { return Ok(()) };
        let bridge = self.links.find(&self.plan.bridge).await.map_err(|error| tap_error(tap, error))?;
        self.check_tap(&link, bridge.map_or(0, |bridge| bridge.index))?;
        self.links.remove(link.index).await.map_err(|error| tap_error(tap, error))
    }

    async fn sweep(&self, known: &[String]) -> Result<Vec<String>, NetError> {
        let mut removed = Vec::new();
        for link in self.own_taps().await? {
            if known.contains(&link.name) {
                continue;
            }
            self.links.remove(link.index).await.map_err(|error| tap_error(&link.name, error))?;
            removed.push(format!("the TAP device {}", link.name));
        }
        Ok(removed)
    }

    async fn tear_down(&self) -> Result<(), NetError> {
        let _turn = self.shape.lock().await;
        for link in self.own_taps().await? {
            self.links.remove(link.index).await.map_err(|error| tap_error(&link.name, error))?;
        }
        if let Some(link) = self.links.find(&self.plan.bridge).await.map_err(|error| self.bridge_error(error))? {
            // Another's bridge has another's rules.
            self.check_bridge(&link)?;
            self.links.remove(link.index).await.map_err(|error| self.bridge_error(error))?;
        }
        rules::remove(&self.plan.bridge).await
    }
}

pub(super) fn tap_error(tap: &str, error: LinkError) -> NetError {
    if error.is_permission() {
        return NetError::NotPermitted { detail: format!("{error}: run as root or with CAP_NET_ADMIN") };
    }
    NetError::Tap { tap: tap.to_owned(), detail: error.to_string() }
}

fn tun_error(tap: &str, error: &io::Error) -> NetError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            NetError::NotPermitted { detail: "/dev/net/tun is missing: load the module tun (modprobe tun)".to_owned() }
        }
        io::ErrorKind::PermissionDenied => {
            NetError::NotPermitted { detail: format!("/dev/net/tun: {error}: run as root or with CAP_NET_ADMIN") }
        }
        _ => NetError::Tap { tap: tap.to_owned(), detail: error.to_string() },
    }
}
