//! What a machine takes over while it runs: the newest of what was asked for, at once, and what could not be told, by name.

use crate::{
    gate::{At, Gate},
    lab::{Lab, ask, done, graceful, made, row, state, until},
};
use actors::Node;
use domain::{
    VmId,
    vm::{Change, Command, ReasonCode},
};
use std::sync::Arc;

/// A VM that runs, on a driver whose next tuning waits.
async fn running() -> (Lab, Arc<Gate>, Node, VmId) {
    let lab = Lab::new();
    let gate = Gate::shut_at(At::Tune, lab.driver());
    let node = lab.start_with(gate.clone()).await;
    lab.add_images(&node).await;
    let id = made(&node, "a", true).await;
    (lab, gate, node, id)
}

async fn balloon(node: &Node, id: VmId, mib: u32) {
    ask(node, id, Command::Update(Change { balloon_mib: Some(mib), ..Change::default() })).await.unwrap();
}

fn told(gate: &Gate) -> Vec<u32> {
    gate.balloons.lock().unwrap().clone()
}

/// A VMM that is slow to answer is not told what was asked for in the meantime and is no longer.
#[tokio::test]
async fn the_newest_tuning_takes_the_place_of_those_that_wait() {
    let (_lab, gate, node, id) = running().await;
    balloon(&node, id, 1).await;
    until("the machine is told", || *gate.waiting.borrow() == 1).await;
    for mib in 2..=5 {
        balloon(&node, id, mib).await;
    }
    gate.open();
    until("it has the newest", || told(&gate).contains(&5)).await;
    assert_eq!(told(&gate), [1, 5]);
    node.stop().await;
}

/// Nor does a guest that is to shut down wait for what only a machine that goes on needs.
#[tokio::test]
async fn a_stop_does_not_wait_for_tunings_that_have_not_begun() {
    let (_lab, gate, node, id) = running().await;
    balloon(&node, id, 1).await;
    until("the machine is told", || *gate.waiting.borrow() == 1).await;
    balloon(&node, id, 2).await;
    let stop = ask(&node, id, graceful()).await.unwrap();
    gate.open();
    done(&node, stop.operation).await;
    assert_eq!((state(&node, id), told(&gate)), ("stopped", vec![1]));
    node.stop().await;
}

#[tokio::test]
async fn what_could_not_be_told_is_named() {
    let (_lab, gate, node, id) = running().await;
    gate.open();
    for (refused, mib, said) in [
        (vec![At::Metadata], 1, "the metadata: the VMM refused metadata: told to; what was asked for holds from the next start"),
        (
            vec![At::Tune],
            2,
            "limits, memory and disks: the VMM refused tune: told to; what was asked for holds from the next start",
        ),
        (
            vec![At::Tune, At::Metadata],
            3,
            "limits, memory and disks: the VMM refused tune: told to, and the metadata: the VMM refused metadata: told to; what was asked for holds from the next start",
        ),
    ] {
        *gate.refuses.lock().unwrap() = refused;
        balloon(&node, id, mib).await;
        let reason = || row(&node, id).record.reason.clone();
        until(said, || reason().is_some_and(|reason| reason.code == ReasonCode::NotApplied && reason.detail == said)).await;
    }
    gate.refuses.lock().unwrap().clear();
    balloon(&node, id, 4).await;
    until("all is told", || row(&node, id).record.reason.is_none()).await;
    node.stop().await;
}
