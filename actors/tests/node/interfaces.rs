//! Network interfaces of VMs: what each is given, what stays of it when they change, and what is free again.

use crate::lab::{self, Lab, ask, carry_out, made, name, row, until, vm, who};
use actors::{CommandError, Node, faults::CommitGate};
use async_trait::async_trait;
use domain::{
    VmId,
    vm::{Change, Command, Interface, Mac, NetworksChange, Nic, StopMode, actions::Refused},
};
use futures_util::poll;
use host::net::{NetError, Network};
use std::{pin::pin, sync::Arc};
use tokio::sync::watch;

const ONE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TWO: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn plain() -> Interface {
    "default".into()
}

fn with(mac: [u8; 6]) -> Interface {
    Interface { mac: Some(Mac::new(mac).unwrap()), ..plain() }
}

fn to(wanted: &[Interface]) -> Command {
    Command::Update(Change { networks: Some(Box::new(NetworksChange::to(wanted.to_vec()))), ..Change::default() })
}

fn nics(node: &Node, id: VmId) -> Vec<Nic> {
    row(node, id).record.nics.clone()
}

fn last(node: &Node, id: VmId) -> Vec<u8> {
    nics(node, id).iter().map(|nic| nic.address.octets()[3]).collect()
}

async fn new(node: &Node, called: &str, wanted: &[Interface]) -> Result<VmId, CommandError> {
    let mut vm = vm(called, false);
    vm.spec.networks = wanted.to_vec();
    let accepted = node.create_vm(vm, who()).await?;
    lab::done(node, accepted.operation).await;
    Ok(accepted.resource.id)
}

#[tokio::test]
async fn each_has_its_own_all_or_none_and_no_mac_is_there_twice() {
    // Five addresses.
    let lab = Lab { subnet: "10.77.0.0/29", ..Lab::new() };
    let node = lab.start_with_images().await;
    let id = new(&node, "a", &[plain(), with(ONE), plain()]).await.unwrap();
    assert_eq!(last(&node, id), [2, 3, 4]);
    assert_eq!(nics(&node, id)[1].mac, ONE);
    let full = new(&node, "b", &[plain(), plain(), plain()]).await;
    assert!(matches!(full, Err(CommandError::AddressesExhausted { room: 5 })), "{full:?}");
    for mac in [ONE, nics(&node, id)[2].mac] {
        let taken = new(&node, "b", &[plain(), with(mac)]).await;
        assert!(matches!(&taken, Err(CommandError::MacTaken { holder, .. }) if holder == "the VM a"), "{taken:?}");
    }
    // What was refused took nothing.
    let other = new(&node, "b", &[plain(), with(TWO)]).await.unwrap();
    assert_eq!(last(&node, other), [5, 6]);
    // Addresses and MACs come back with the end.
    carry_out(&node, id, Command::Delete { force: false }).await;
    lab::until_answered("they are free again", async || new(&node, "c", &[with(ONE), plain(), plain()]).await.ok()).await;
    node.stop().await;
}

#[tokio::test]
async fn what_stays_keeps_its_address_and_what_goes_is_free() {
    let lab = Lab { subnet: "10.77.0.0/29", ..Lab::new() };
    let node = lab.start_with_images().await;
    let id = new(&node, "a", &[plain(), with(ONE), plain()]).await.unwrap();
    let before = nics(&node, id);
    ask(&node, id, to(&[with(ONE), plain(), with(TWO)])).await.unwrap();
    let after = nics(&node, id);
    assert_eq!(last(&node, id), [3, 2, 5]);
    assert_eq!((after[0].mac, after[1].mac, after[2].mac), (ONE, before[0].mac, TWO));
    assert_eq!(after[0].tap, before[0].tap, "TAPs are called by their places");
    // What it has no longer is another's, and what a refused change would have had is nobody's.
    let refused = ask(&node, id, to(&[plain(), plain(), plain(), plain(), plain(), plain()])).await;
    assert!(matches!(refused, Err(CommandError::AddressesExhausted { .. })), "{refused:?}");
    let other = lab::until_answered("two are free", async || new(&node, "b", &[plain(), plain()]).await.ok()).await;
    assert_eq!(last(&node, other).len(), 2);
    let taken = ask(&node, other, to(&[with(ONE)])).await;
    assert!(matches!(&taken, Err(CommandError::MacTaken { holder, .. }) if holder == "the VM a"), "{taken:?}");
    ask(&node, id, to(&[])).await.unwrap();
    until("it has none", || nics(&node, id).is_empty()).await;
    lab::until_answered("its MAC is free", async || ask(&node, other, to(&[with(ONE)])).await.ok()).await;
    // In the table of addresses too: one VM has one, the other none.
    assert_eq!(node.journal().load("addresses").unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn only_a_stopped_vm_changes_and_a_refusal_holds_nothing() {
    let lab = Lab { subnet: "10.77.0.0/29", ..Lab::new() };
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    for _ in 0..8 {
        let refused = ask(&node, id, to(&[plain(), plain()])).await;
        assert!(matches!(&refused, Err(CommandError::Vm(why)) if why.code() == "only-when-stopped"), "{refused:?}");
    }
    carry_out(&node, id, Command::Stop(StopMode::Force)).await;
    let twice = ask(&node, id, to(&[with(ONE), with(ONE)])).await;
    assert!(matches!(twice, Err(CommandError::Invalid(_))), "{twice:?}");
    ask(&node, id, to(&vec![plain(); 5])).await.unwrap();
    assert_eq!(last(&node, id), [2, 3, 4, 5, 6]);
    // With a name, in one command; and it runs with all of them.
    let Command::Update(change) = to(&[plain(), plain()]) else { unreachable!() };
    ask(&node, id, Command::Update(Change { name: Some(name("b")), ..change })).await.unwrap();
    assert_eq!((row(&node, id).record.name.as_str(), nics(&node, id).len()), ("b", 2));
    carry_out(&node, id, Command::Start).await;
    node.stop().await;
}

/// Nobody is given what another is just being given, and nothing stays held.
#[tokio::test]
async fn changes_at_once_give_nothing_twice_and_lose_nothing() {
    let lab = Lab { subnet: "10.77.0.0/28", ..Lab::new() };
    let node = lab.start_with_images().await;
    let ids = [new(&node, "a", &[plain()]).await.unwrap(), new(&node, "b", &[plain()]).await.unwrap()];
    for round in 0..20 {
        let changes = (0..8).map(|n| {
            let (node, id) = (node.clone(), ids[n % 2]);
            let wanted = match (n + round) % 4 {
                0 => vec![plain()],
                1 => vec![with(ONE), plain()],
                2 => vec![plain(), with(TWO), plain()],
                _ => vec![],
            };
            async move { ask(&node, id, to(&wanted)).await.is_ok() }
        });
        let done = futures_util::future::join_all(changes).await;
        assert!(done.contains(&true));
        let mut all: Vec<_> = ids.iter().flat_map(|id| nics(&node, *id)).collect();
        let count = all.len();
        all.sort_by_key(|nic| nic.address);
        all.dedup_by_key(|nic| nic.address);
        assert_eq!(all.len(), count, "an address was given twice");
        all.sort_by_key(|nic| nic.mac);
        all.dedup_by_key(|nic| nic.mac);
        assert_eq!(all.len(), count, "a MAC was given twice");
    }
    // All 13 can be had again.
    for id in ids {
        lab::until_answered("the last change is settled", async || ask(&node, id, to(&[])).await.ok()).await;
    }
    for (called, count) in [("c", 8), ("d", 5)] {
        lab::until_answered("all are free", async || new(&node, called, &vec![plain(); count]).await.ok()).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn they_are_the_same_after_a_restart_and_no_mac_is_forgotten() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = new(&node, "a", &[plain(), with(ONE)]).await.unwrap();
    let before = nics(&node, id);
    node.stop().await;
    drop(node);
    let node = lab.start().await;
    assert_eq!(nics(&node, id), before);
    let taken = new(&node, "b", &[with(ONE)]).await;
    assert!(matches!(taken, Err(CommandError::MacTaken { .. })), "{taken:?}");
    let same = Arc::clone(&row(&node, id).record);
    ask(&node, id, to(&[plain(), with(ONE)])).await.unwrap();
    assert_eq!(nics(&node, id), same.nics, "asked for what it has, nothing changes");
    node.stop().await;
}

/// A network on which the host has a MAC of its own, and whose devices are there when they are wanted.
struct Bridge([u8; 6]);

#[async_trait]
impl Network for Bridge {
    async fn ensure(&self) -> Result<(), NetError> {
        Ok(())
    }
    async fn attach(&self, _: VmId, _: &str) -> Result<(), NetError> {
        Ok(())
    }
    fn own_mac(&self) -> Option<[u8; 6]> {
        Some(self.0)
    }
    async fn detach(&self, _: &str) -> Result<(), NetError> {
        Ok(())
    }
    async fn sweep(&self, _: &[String]) -> Result<Vec<String>, NetError> {
        Ok(Vec::new())
    }
    async fn tear_down(&self) -> Result<(), NetError> {
        Ok(())
    }
}

/// At a VM's start it would be found out too late.
#[tokio::test]
async fn nobody_is_given_the_hosts_own_mac() {
    let lab = Lab::new();
    let mut parts = lab.parts(lab.driver(), Arc::new(lab.store()));
    parts.ports.network = Some(Arc::new(Bridge(ONE)));
    let node = Node::start(parts).await.unwrap();
    lab.add_images(&node).await;
    let refused = new(&node, "a", &[plain(), with(ONE)]).await.unwrap_err();
    assert_eq!(refused.to_string(), "the host's bridge has the MAC 02:00:00:00:00:01");
    let id = new(&node, "a", &[with(TWO)]).await.unwrap();
    let refused = ask(&node, id, to(&[with(TWO), with(ONE)])).await.unwrap_err();
    assert!(matches!(refused, CommandError::MacTaken { .. }), "{refused}");
    node.stop().await;
}

/// Holds commits, and who loads a VM again, as long as they are to wait.
#[derive(Default)]
struct Hold {
    commits: watch::Sender<bool>,
    loads: watch::Sender<bool>,
    /// How often one came that had to wait.
    held: watch::Sender<u32>,
}

impl Hold {
    async fn here(&self, waits: &watch::Sender<bool>) {
        let mut waits = waits.subscribe();
        if *waits.borrow_and_update() {
            self.held.send_modify(|held| *held += 1);
            let _ = waits.wait_for(|waits| !*waits).await;
        }
    }

    async fn until_held(&self, times: u32) {
        until("it is held", || *self.held.borrow() == times).await;
    }
}

#[async_trait]
impl CommitGate for Hold {
    async fn before(&self) -> Result<(), CommandError> {
        self.here(&self.commits).await;
        Ok(())
    }

    async fn after(&self) -> Result<(), CommandError> {
        Ok(())
    }

    async fn settle(&self) {
        self.here(&self.loads).await;
    }
}

/// Five addresses; a VM with one of them, and another with none.
async fn two_that_can_be_held() -> (Lab, Arc<Hold>, Node, VmId, VmId) {
    let (lab, hold) = (Lab { subnet: "10.77.0.0/29", ..Lab::new() }, Arc::<Hold>::default());
    let node = Node::start_with_gate(lab.parts(lab.driver(), Arc::new(lab.store())), hold.clone()).await.unwrap();
    lab.add_images(&node).await;
    let (id, other) = (new(&node, "a", &[plain()]).await.unwrap(), new(&node, "b", &[]).await.unwrap());
    (lab, hold, node, id, other)
}

/// What an actor says when it has loaded its VM is about what the one before it was told. What it was told itself is still under way.
#[tokio::test]
async fn what_a_loading_actor_was_told_stays_held_until_it_is_carried_out() {
    let (_lab, hold, node, id, other) = two_that_can_be_held().await;
    hold.loads.send_replace(true);
    node.crash_vm_actor(id).unwrap();
    hold.until_held(1).await;
    let mut asked = pin!(ask(&node, id, to(&[plain(), with(ONE)])));
    assert!(poll!(asked.as_mut()).is_pending());
    // Their supervisor has passed it on: it does one after the other.
    ask(&node, other, to(&[])).await.unwrap();
    hold.loads.send_replace(false);
    asked.await.unwrap();
    assert_eq!(last(&node, id), [2, 3]);
    let full = ask(&node, other, to(&vec![plain(); 4])).await;
    assert!(matches!(full, Err(CommandError::AddressesExhausted { .. })), "{full:?}, with {:?}", last(&node, other));
    let taken = ask(&node, other, to(&[with(ONE)])).await;
    assert!(matches!(taken, Err(CommandError::MacTaken { .. })), "{taken:?}");
    node.stop().await;
}

/// A change whose actor fell over it may be durable or not: what it was to give is held, and nothing else changes, until that is known.
#[tokio::test]
async fn a_change_that_its_actor_fell_over_is_in_doubt_until_the_vm_is_loaded() {
    let (_lab, hold, node, id, other) = two_that_can_be_held().await;
    hold.commits.send_replace(true);
    hold.loads.send_replace(true);
    let mut asked = pin!(ask(&node, id, to(&[plain(), with(ONE)])));
    assert!(poll!(asked.as_mut()).is_pending());
    hold.until_held(1).await;
    assert!(node.kill_actor(&id.to_string()));
    // Who asked waits for the journal as well.
    let told = async {
        hold.until_held(3).await;
        hold.commits.send_replace(false);
        let busy = ask(&node, id, to(&[])).await;
        assert!(matches!(busy, Err(CommandError::Vm(Refused::Busy))), "{busy:?}");
        let full = ask(&node, other, to(&vec![plain(); 4])).await;
        assert!(matches!(full, Err(CommandError::AddressesExhausted { .. })), "{full:?}");
        hold.loads.send_replace(false);
    };
    let (answer, ()) = tokio::join!(asked, told);
    assert!(matches!(answer, Err(CommandError::Restarting)), "{answer:?}");
    assert_eq!(last(&node, id), [2]);
    // It was not carried out, and nothing is held for it any more.
    lab::until_answered("four are free", async || ask(&node, other, to(&vec![plain(); 4])).await.ok()).await;
    lab::until_answered("it can change", async || ask(&node, id, to(&[])).await.ok()).await;
    node.stop().await;
}
