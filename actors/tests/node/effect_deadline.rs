//! An effect that never answers: its deadline ends it, and its operation ends with an error that says so and what to do.
//!
//! On a clock that stands unless it is moved: the ten minutes take none.

use crate::{
    gate::{At, Gate},
    lab::{self, Lab, ask, made, name, on_a_standing_clock, row, state, vm, who},
};
use actors::Node;
use domain::{
    OperationId, VmId,
    operation::{OperationError, Status},
    vm::Command,
};
use std::{sync::Arc, time::Duration};

/// What `actors::vm::perform` allows an effect.
const DEADLINE: Duration = Duration::from_secs(600);
/// So much before and behind it.
const EDGE: Duration = Duration::from_secs(2);
/// How far the clock is moved at once where it must move: a commit that takes as long in truth is none of this test's.
const TICK: Duration = Duration::from_millis(5);
const TICKS_MOST: u32 = 60_000;

/// Moves the clock, a little at a time, until the work is done.
async fn moving<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    for _ in 0..TICKS_MOST {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = a_moment() => tokio::time::advance(TICK).await,
        }
    }
    panic!("never came true: {what}")
}

/// For the journal's thread, in real time.
async fn a_moment() {
    tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await.unwrap();
}

async fn until(what: &str, so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(TICK).await;
        }
    };
    moving(what, wait).await;
}

fn failure(node: &Node, id: OperationId) -> Option<OperationError> {
    match &node.view().operation(id).expect("the operation is known").status {
        Status::Running => None,
        Status::Failed(error) => Some(error.clone()),
        ended => panic!("ended as {}", ended.as_str()),
    }
}

/// The effect hangs until its deadline, and not longer; meanwhile it is shown to take too long. Then the operation has this code.
async fn is_given_up(node: &Node, id: VmId, operation: OperationId, gate: &Gate, code: &str) {
    until("the driver is asked", || *gate.waiting.borrow() == 1).await;
    tokio::time::advance(DEADLINE - EDGE).await;
    a_moment().await;
    assert_eq!(failure(node, operation), None, "too early");
    until("it is shown as overdue", || node.actor(&id.to_string()).is_some_and(|actor| actor.state == "overdue")).await;
    tokio::time::advance(2 * EDGE).await;
    until("its operation ends", || failure(node, operation).is_some()).await;
    let error = failure(node, operation).unwrap();
    assert_eq!(error.code, code, "{error:?}");
    assert!(error.detail.contains("did not answer within 600 s") && !error.hint.is_empty(), "{error:?}");
    let kept = node.journal().get(storage::schema::OPERATIONS, &operation.to_string()).unwrap().unwrap();
    let kept = storage::envelope::decode::<domain::operation::Operation>(&kept).unwrap();
    assert_eq!(kept.status, Status::Failed(error), "durably");
}

async fn started(at: At) -> (Lab, Arc<Gate>, Node) {
    let lab = Lab::new();
    let gate = Gate::shut_at(at, lab.driver());
    let node = moving("the node starts", lab.start_with(gate.clone())).await;
    moving("images are there", lab.add_images(&node)).await;
    (lab, gate, node)
}

#[test]
fn a_disk_that_is_never_made() {
    on_a_standing_clock(async {
        let (_lab, gate, node) = started(At::PrepareDisk).await;
        let accepted = moving("it is accepted", node.create_vm(vm("a", true), who())).await.unwrap();
        let id = accepted.resource.id;
        is_given_up(&node, id, accepted.operation.unwrap(), &gate, "disk-failed").await;
        until("nothing of the VM is left", || node.view().vm(id).is_none() && node.held() == (0, 0)).await;
        assert!(node.view().find_vm(&name("default"), &name("a")).is_none());
        moving("the node stops", node.stop()).await;
    });
}

#[test]
fn a_launch_that_never_ends() {
    on_a_standing_clock(async {
        let (_lab, gate, node) = started(At::Launch).await;
        let id = moving("a VM is made", made(&node, "a", false)).await;
        let operation = moving("it is accepted", ask(&node, id, Command::Start)).await.unwrap().operation.unwrap();
        is_given_up(&node, id, operation, &gate, "launch-failed").await;
        until("it is failed", || state(&node, id) == "failed").await;
        assert_eq!(node.held(), (0, 0), "nothing is held for what does not run");
        // What hung is over: the next start goes through.
        gate.open();
        let again = moving("it is accepted", ask(&node, id, Command::Start)).await.unwrap().operation;
        moving("it starts", lab::done(&node, again)).await;
        assert_eq!(state(&node, id), "running");
        moving("the node stops", node.stop()).await;
    });
}

#[test]
fn a_pause_that_is_never_answered() {
    on_a_standing_clock(async {
        let (_lab, gate, node) = started(At::Pause).await;
        let id = moving("a VM runs", made(&node, "a", true)).await;
        let machine = row(&node, id).record.state.machine().cloned();
        let operation = moving("it is accepted", ask(&node, id, Command::Pause)).await.unwrap().operation.unwrap();
        is_given_up(&node, id, operation, &gate, "pause-failed").await;
        until("it runs as before", || state(&node, id) == "running").await;
        assert_eq!(row(&node, id).record.state.machine().cloned(), machine, "the same machine");
        moving("the node stops", node.stop()).await;
    });
}
