//! What a node makes of the journal that another left: machines are adopted, halves are gone on with, what can't be read is set aside.

use crate::{
    gate,
    lab::{self, Lab, carry_out, ended, events, made, name, row, state, story, until, until_state, vm, who},
};
use domain::{
    Attempt, Generation, OperationId, Timestamp,
    event::Kind,
    operation::{self, OperationKind, Target},
    vm::{Command, Inspection},
};
use host::vmm::Vmm;
use storage::{Batch, envelope, schema};

#[tokio::test]
async fn a_new_start_adopts_what_runs_and_goes_on_counting() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (running, paused, stopped) = (made(&node, "a", true).await, made(&node, "b", true).await, made(&node, "c", false).await);
    carry_out(&node, paused, Command::Pause).await;
    let machine = row(&node, running).record.state.machine().cloned();
    let last = node.journal().latest();
    let address = row(&node, stopped).record.nics.clone();
    node.stop().await;
    drop(node);

    let node = lab.start().await;
    let adopted = |id| story(node.journal(), id).iter().filter(|event| *event == "vm-adopted").count() == 1;
    until("both are adopted", || adopted(running) && adopted(paused)).await;
    assert_eq!((state(&node, running), state(&node, paused), state(&node, stopped)), ("running", "paused", "created"));
    assert_eq!(row(&node, running).record.state.machine().cloned(), machine, "the same machine");
    assert_eq!(row(&node, stopped).record.nics, address, "an address is for life");
    for id in [running, paused] {
        let told = story(node.journal(), id);
        assert_eq!(told.iter().filter(|event| *event == "vm-started").count(), 1, "{told:?}");
    }
    let cursors: Vec<u64> = events(node.journal(), 0).into_iter().map(|(cursor, _)| cursor).collect();
    assert_eq!(cursors, (1..=node.journal().latest()).collect::<Vec<u64>>(), "one numbering, no gap");
    assert!(node.journal().latest() > last);
    assert_eq!(node.held(), (2, 256));
    assert!(node.create_vm(vm("a", false), who()).await.is_err(), "names are known again");
    carry_out(&node, running, lab::graceful()).await;
    node.stop().await;
}

#[tokio::test]
async fn what_was_half_done_is_gone_on_with() {
    let lab = Lab::new();
    let (gate, node, accepted) = gate::launching(&lab).await;
    let id = accepted.resource.id;
    node.stop().await;
    drop((node, gate));

    let node = lab.start().await;
    until_state(&node, id, "running").await;
    assert_eq!(ended(&node, accepted.operation).await.status.as_str(), "succeeded", "the operation that was begun before");
    let told = story(node.journal(), id);
    assert_eq!(told.iter().filter(|event| *event == "vm-started").count(), 1, "{told:?}");
    node.stop().await;
}

#[tokio::test]
async fn an_operation_that_nobody_works_on_is_ended() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", false).await;
    node.stop().await;
    drop(node);
    let orphan = OperationId::from_bits(u128::from(u64::MAX) << 64);
    let target = Target { kind: Kind::Vm, id: id.to_string(), name: name("a") };
    let record = operation::begin(orphan, OperationKind::VmStart, target, name("default"), "user:test".into(), Timestamp(1));
    let journal = lab.journal();
    let batch = Batch::default().put(schema::OPERATIONS, orphan.to_string(), envelope::encode(&record).unwrap());
    journal.commit(batch).await.unwrap();
    journal.close().await;
    drop(journal);

    let node = lab.start().await;
    let operation = ended(&node, Some(orphan)).await;
    let operation::Status::Failed(error) = &operation.status else { panic!("{operation:?}") };
    assert_eq!(error.code, "interrupted");
    let kept = node.journal().get(schema::OPERATIONS, &orphan.to_string()).unwrap().unwrap();
    assert_eq!(envelope::decode::<operation::Operation>(&kept).unwrap(), *operation, "durable too");
    node.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_set_aside_and_the_rest_starts() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (good, bad) = (made(&node, "a", true).await, made(&node, "b", true).await);
    let machine = row(&node, bad).record.state.machine().cloned().unwrap();
    node.stop().await;
    drop(node);
    damage(&lab, bad).await;

    let driver = lab.driver();
    let node = lab.start_with(driver.clone()).await;
    assert_eq!((state(&node, good), state(&node, bad)), ("running", "none"));
    assert!(node.journal().get(schema::VMS, &bad.to_string()).unwrap().is_none());
    let aside = node.journal().load_set_aside().unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!((aside[0].1.table.as_str(), aside[0].1.key.as_str()), (schema::VMS, bad.to_string().as_str()));
    assert!(!aside[0].1.bytes.is_empty(), "as it was");
    // Nobody knows its record, but its machine and disk are no rubbish: who repairs the record gets them back.
    assert_eq!(driver.inspect(bad, &machine).await.unwrap(), Inspection::Running);
    made(&node, "b", false).await;
    node.stop().await;
}

/// Cuts the record of a VM in half, as damage or a newer version would leave it: nobody can read it.
async fn damage(lab: &Lab, id: domain::VmId) {
    let journal = lab.journal();
    let mut bytes = journal.get(schema::VMS, &id.to_string()).unwrap().unwrap();
    bytes.truncate(bytes.len() / 2);
    journal.commit(Batch::default().put(schema::VMS, id.to_string(), bytes)).await.unwrap();
    journal.close().await;
}

#[tokio::test]
async fn the_address_of_a_record_that_was_set_aside_is_given_to_nobody() {
    // Five addresses for VMs.
    let lab = Lab { subnet: "10.77.0.0/29", ..Lab::new() };
    let node = lab.start_with_images().await;
    let (kept, bad) = (made(&node, "kept", false).await, made(&node, "bad", false).await);
    let address = row(&node, bad).record.nics[0].address;
    node.stop().await;
    drop(node);
    damage(&lab, bad).await;
    // As a version before this table left it: what is missing is made up for, where the record can be read.
    let journal = lab.journal();
    journal.commit(Batch::default().delete("addresses", kept.to_string())).await.unwrap();
    journal.close().await;
    drop(journal);

    for round in 0..2 {
        let node = lab.start().await;
        assert_eq!(state(&node, bad), "none");
        let mut given = vec![row(&node, kept).record.nics[0].address, address];
        let mut made_now = Vec::new();
        for n in 0..3 {
            let id = made(&node, &format!("vm-{round}-{n}"), false).await;
            given.push(row(&node, id).record.nics[0].address);
            made_now.push(id);
        }
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 5, "an address was given twice");
        let full = node.create_vm(vm("full", false), who()).await;
        assert!(matches!(full, Err(actors::CommandError::AddressesExhausted { .. })), "{full:?}");
        for id in made_now {
            carry_out(&node, id, Command::Delete { force: false }).await;
        }
        assert_eq!(node.journal().load("addresses").unwrap().len(), 2, "an entry a record, and that of the one set aside");
        node.stop().await;
    }

    // Once what was set aside is cleared away, its address is free.
    let journal = lab.journal();
    let (key, _) = journal.load_set_aside().unwrap().remove(0);
    journal.commit(Batch::default().delete(storage::SET_ASIDE, key)).await.unwrap();
    journal.close().await;
    drop(journal);
    let node = lab.start().await;
    for n in 0..4 {
        made(&node, &format!("free-{n}"), false).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn each_launch_has_a_number_of_its_own() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    let before = row(&node, id).record;
    assert!(before.attempt > Attempt(0) && before.generation > Generation(1));
    let machine = before.state.machine().cloned().unwrap();
    carry_out(&node, id, lab::graceful()).await;
    carry_out(&node, id, Command::Start).await;
    let after = row(&node, id).record.state.machine().cloned().unwrap();
    assert!(after.launch > machine.launch);
    let told = story(node.journal(), id);
    assert_eq!(told.iter().filter(|event| *event == "vm-stopped").count(), 1, "{told:?}");
    node.stop().await;
}
