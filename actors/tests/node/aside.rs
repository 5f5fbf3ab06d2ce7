//! Records that were set aside: those of a newer hearth that an older one could not read come back once they can be read, and nothing is
//! there twice; what is another's by now stays where it is.

use crate::lab::{self, Lab, carry_out, events, made, row, state, until_state, who};
use actors::view::Page;
use domain::{Labels, VmId, host::Command as HostCommand, host::Host, operation::Operation, vm::Vm};
use std::net::Ipv4Addr;
use storage::{
    Batch, Journal, SET_ASIDE,
    envelope::{self, Stored},
    schema,
};

/// Records of which an older hearth knows nothing yet.
const NEWER: [u8; 2] = u16::MAX.to_le_bytes();

fn address(node: &actors::Node, id: VmId) -> Option<Ipv4Addr> {
    row(node, id).record.nics.first().map(|nic| nic.address)
}

/// All records of these tables are as a newer hearth would have written them.
async fn make_newer(journal: &Journal, tables: &[&'static str], but: &str) {
    for table in tables {
        for (key, mut bytes) in journal.load(table).unwrap().into_iter().filter(|(key, _)| key != but) {
            bytes[..2].copy_from_slice(&NEWER);
            journal.commit(Batch::default().put(*table, key, bytes)).await.unwrap();
        }
    }
}

/// What lies aside is what this hearth itself writes: it is now the newer one.
async fn make_known(journal: &Journal) {
    for (number, aside) in journal.load_set_aside().unwrap() {
        let (journal, mut bytes) = (journal.clone(), aside.bytes);
        let schema: u16 = match aside.table.as_str() {
            schema::HOSTS => Host::SCHEMA,
            schema::OPERATIONS => Operation::SCHEMA,
            schema::VMS => Vm::SCHEMA,
            other => panic!("nothing of {other} was made newer"),
        };
        bytes[..2].copy_from_slice(&schema.to_le_bytes());
        let put = Batch::default().delete(SET_ASIDE, number).put(aside.table.clone(), aside.key.clone(), bytes);
        journal.commit(put).await.unwrap();
        let (table, key) = (aside.table, aside.key);
        tokio::task::spawn_blocking(move || journal.set_aside(&table, &key, "of a newer hearth").unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn what_an_older_hearth_could_not_read_comes_back_with_the_newer_one() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (known, newer) = (made(&node, "known", true).await, made(&node, "newer", true).await);
    let host = node.host();
    let labels = Labels::from([("rack".to_owned(), "7".to_owned())]);
    node.command_host(host, HostCommand::Update { labels: Some(labels.clone()) }, who()).await.unwrap();
    let (machine, given) = (row(&node, newer).record.state.machine().cloned(), address(&node, newer));
    let operations = node.view().operations(&Page::first(99)).0.len();
    node.stop().await;
    drop(node);

    // An older hearth: the host is registered anew, one VM and all operations are unknown, another VM is made, the host is cordoned.
    let journal = lab.journal();
    make_newer(&journal, &[schema::HOSTS, schema::OPERATIONS, schema::VMS], &known.to_string()).await;
    journal.close().await;
    let node = lab.start().await;
    let stand_in = node.host();
    assert_ne!(stand_in, host);
    assert_eq!((state(&node, known), state(&node, newer)), ("running", "none"));
    let later = made(&node, "later", true).await;
    assert_eq!(row(&node, later).record.host, stand_in);
    node.command_host(stand_in, HostCommand::Cordon, who()).await.unwrap();
    node.stop().await;
    drop(node);

    let journal = lab.journal();
    make_known(&journal).await;
    journal.close().await;
    let last = journal.latest();
    for starts in 1..=2 {
        let node = lab.start().await;
        assert_eq!(node.host(), host, "the machine is who it was");
        let hosts = node.view().hosts(&Page::first(9)).0;
        assert_eq!(hosts.iter().map(|host| host.id).collect::<Vec<_>>(), [host], "and is there once");
        assert_eq!((&hosts[0].labels, hosts[0].cordoned), (&labels, true), "what was decided about either record holds");
        until_state(&node, newer, "running").await;
        assert_eq!((row(&node, newer).record.state.machine().cloned(), address(&node, newer)), (machine.clone(), given));
        for id in [known, newer, later] {
            assert_eq!((row(&node, id).record.host, state(&node, id)), (host, "running"));
        }
        assert_ne!(address(&node, later), given, "its address was held meanwhile");
        assert_eq!(node.held(), (3, 3 * 128));
        assert_eq!(
            node.view().operations(&Page::first(99)).0.len(),
            operations + 1,
            "each once, and that of the VM made meanwhile"
        );
        assert!(node.journal().load_set_aside().unwrap().is_empty());
        let stored = node.journal().load(schema::HOSTS).unwrap().decode::<Host>().good;
        assert_eq!(stored.into_iter().map(|(_, host)| host.id).collect::<Vec<_>>(), [host], "durable too");
        let merged = events(node.journal(), last).into_iter().filter(|(_, event)| event.event == "host-merged");
        assert_eq!(merged.map(|(_, event)| event.id).collect::<Vec<_>>(), [stand_in.to_string()], "told once, start {starts}");
        if starts == 2 {
            node.command_host(host, HostCommand::Uncordon, who()).await.unwrap();
            carry_out(&node, newer, lab::graceful()).await;
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn what_is_anothers_by_now_stays_set_aside() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (named, replaced, free) =
        (made(&node, "named", false).await, made(&node, "replaced", false).await, made(&node, "free", false).await);
    let image = node.view().images(&Page::first(1)).0[0].id;
    node.stop().await;
    drop(node);
    let journal = lab.journal();
    let bytes = |id: VmId| journal.get(schema::VMS, &id.to_string()).unwrap().unwrap();
    let (newest, other) = (bytes(free), bytes(replaced));
    let mut older = envelope::decode::<Vm>(&newest).unwrap();
    older.labels = Labels::from([("which".to_owned(), "the older one".to_owned())]);
    let older = envelope::encode(&older).unwrap();
    let blocking = journal.clone();
    // The same VM twice; one whose place is taken again; one whose name will be another's; one that can't be read; one of a kind that no
    // start puts back.
    tokio::task::spawn_blocking(move || {
        let aside = |table: &'static str, key: &str, bytes: &[u8]| {
            blocking.commit_blocking(Batch::default().put(table, key, bytes.to_vec())).unwrap();
            blocking.set_aside(table, key, "a test wants it").unwrap();
        };
        aside(schema::VMS, &free.to_string(), &older);
        aside(schema::VMS, &free.to_string(), &newest);
        aside(schema::VMS, &replaced.to_string(), &other);
        blocking.commit_blocking(Batch::default().put(schema::VMS, replaced.to_string(), other)).unwrap();
        blocking.set_aside(schema::VMS, &named.to_string(), "a test wants it").unwrap();
        aside(schema::IMAGES, &image.to_string(), &[1, 0, 255]);
        aside("idempotency", "k", &[1, 0]);
    })
    .await
    .unwrap();
    // Another takes the name before the next start of a hearth that puts things back.
    let mut thief = envelope::decode::<Vm>(&bytes(replaced)).unwrap();
    (thief.id, thief.name, thief.nics) = (VmId::from_bits(named.bits() + 1), lab::name("named"), vec![]);
    journal.commit(Batch::default().put(schema::VMS, thief.id.to_string(), envelope::encode(&thief).unwrap())).await.unwrap();
    journal.close().await;
    drop(journal);

    let node = lab.start().await;
    let left: Vec<_> = node.journal().load_set_aside().unwrap().into_iter().map(|(_, aside)| (aside.table, aside.key)).collect();
    let expected = [
        (schema::VMS, free.to_string()),
        (schema::VMS, replaced.to_string()),
        (schema::VMS, named.to_string()),
        (schema::IMAGES, image.to_string()),
        ("idempotency", "k".to_owned()),
    ];
    assert_eq!(left, expected.map(|(table, key)| (table.to_owned(), key)));
    assert!(row(&node, free).record.labels.is_empty(), "the newest of the two");
    assert_eq!((state(&node, named), state(&node, thief.id), state(&node, replaced)), ("none", "created", "created"));
    node.stop().await;
}
