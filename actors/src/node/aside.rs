//! Records that were set aside: whose they are, and their way back. An older hearth that ran on the directory has set aside what it could not
//! read; the start of one that can puts it back, where nothing has taken its place or what is its alone.

use crate::{
    commit::{Commit, Subject},
    error::StartError,
    operation::OperationsRef,
    shared::{Shared, now},
};
use domain::{
    HostId, ImageId, VmId, WebhookId,
    event::Kind,
    host::{self, Host},
    image::Image,
    operation::Operation,
    vm::{Mac, Vm},
    webhook::Webhook,
};
use std::{collections::BTreeSet, sync::Arc};
use storage::{
    Batch, Journal, Loaded, ReadError, SET_ASIDE, SetAside,
    envelope::{Stored, decode},
    schema,
};

/// VMs in one batch: a record has 64 KiB at most, a batch a megabyte.
const VMS: usize = 10;

/// Whose records can't be read.
pub(super) struct Aside {
    pub vms: Vec<VmId>,
    pub images: Vec<ImageId>,
    pub webhooks: Vec<WebhookId>,
}

pub(super) fn set_aside(journal: &Journal) -> Result<Aside, ReadError> {
    let mut aside = Aside { vms: Vec::new(), images: Vec::new(), webhooks: Vec::new() };
    for (_, record) in journal.load_set_aside()? {
        match record.table.as_str() {
            schema::VMS => aside.vms.extend(record.key.parse::<VmId>().ok()),
            schema::WEBHOOKS => aside.webhooks.extend(record.key.parse::<WebhookId>().ok()),
            schema::IMAGES => aside.images.extend(record.key.parse::<ImageId>().ok()),
            _ => {}
        }
    }
    Ok(aside)
}

/// Whether this hearth can read what was set aside, and it is of a kind that a start puts back.
pub fn is_readable(aside: &SetAside) -> bool {
    claims(&aside.table, &aside.bytes).is_some()
}

/// What is a record's alone, in words; `None` when it can't be read, or is of a kind that does not come back: what an old answer or a
/// delivery that failed stands for has gone on without it.
fn claims(table: &str, bytes: &[u8]) -> Option<Vec<String>> {
    fn of<T: Stored>(bytes: &[u8], claims: impl FnOnce(T) -> Vec<String>) -> Option<Vec<String>> {
        decode::<T>(bytes).ok().map(claims)
    }
    match table {
        schema::VMS => of(bytes, |vm: Vm| {
            let nics = vm.nics.into_iter().flat_map(|nic| {
                [
                    format!("the address {}", nic.address),
                    format!("the MAC {}", Mac::of(&nic)),
                    format!("the TAP device {}", nic.tap),
                ]
            });
            nics.chain([format!("the name {}/{} of a VM", vm.project, vm.name)]).collect()
        }),
        schema::IMAGES => of(bytes, |image: Image| vec![format!("the name {}/{} of an image", image.project, image.name)]),
        schema::WEBHOOKS => of(bytes, |hook: Webhook| vec![format!("the name {}/{} of a webhook", hook.project, hook.name)]),
        // One that an older hearth made of this machine in its place is merged into it.
        schema::HOSTS => of(bytes, |_: Host| Vec::new()),
        schema::OPERATIONS => of(bytes, |_: Operation| Vec::new()),
        _ => None,
    }
}

/// Puts back what can be read and whose place is free, the newest of each; the rest stays where it is. Nobody else may write meanwhile.
///
/// Cancel: what was put back so far is, record by record.
pub(super) async fn put_back(journal: &Journal) -> Result<(), StartError> {
    let aside = journal.load_set_aside().map_err(StartError::Journal)?;
    let candidates =
        aside.into_iter().rev().filter_map(|(number, aside)| Some((number, claims(&aside.table, &aside.bytes)?, aside)));
    let candidates: Vec<_> = candidates.collect();
    let tables: BTreeSet<String> = candidates.iter().map(|(_, _, aside)| aside.table.clone()).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for table in tables {
        let Loaded { records } = journal.load(&table).map_err(StartError::Journal)?;
        taken.extend(records.iter().filter_map(|(_, bytes)| claims(&table, bytes)).flatten());
    }
    for (number, claims, SetAside { table, key, bytes, .. }) in candidates {
        let problem = match journal.get(&table, &key).map_err(StartError::Journal)? {
            Some(_) => Some("a newer record has its place".to_owned()),
            None => claims.iter().find(|claim| taken.contains(*claim)).map(|claim| format!("{claim} is another's")),
        };
        if let Some(problem) = problem {
            tracing::warn!(table, key, problem, "a record that was set aside could be read, but stays set aside");
            continue;
        }
        tracing::warn!(table, key, "a record that was set aside can be read again and is put back");
        let batch = Batch::default().put(table, key, bytes).delete(SET_ASIDE, number);
        journal.commit(batch).await.map_err(|error| StartError::Commit(error.into()))?;
        taken.extend(claims);
    }
    Ok(())
}

/// A node is one host, the first of its records. The others are of an older hearth that could not read that one and registered the machine
/// anew: they go, and their VMs are the first one's. It stays cordoned if any of them is.
///
/// Cancel: the next start goes on; a host goes when no VM names it any more.
pub(super) async fn merge_hosts(
    shared: &Shared,
    operations: &OperationsRef,
    hosts: Vec<Arc<Host>>,
    vms: &mut [Arc<Vm>],
) -> Result<(), StartError> {
    let mut hosts = hosts.into_iter();
    let Some(mut own) = hosts.next() else { return Ok(()) };
    shared.view.put_host(Arc::clone(&own));
    let others: Vec<Arc<Host>> = hosts.collect();
    let mut moved: Vec<&mut Arc<Vm>> = vms.iter_mut().filter(|vm| others.iter().any(|other| other.id == vm.host)).collect();
    for chunk in moved.chunks_mut(VMS) {
        let mut commit = Commit::new();
        for vm in chunk {
            // Nobody sees a difference: both are called what this machine is called. So its generation stays.
            **vm = Arc::new(Vm { host: own.id, ..(***vm).clone() });
            commit.put(schema::VMS, vm.id.to_string(), vm.as_ref()).map_err(StartError::Commit)?;
        }
        commit.write_with(shared, operations, || {}).await.map_err(StartError::Commit)?;
    }
    for other in others {
        tracing::warn!(host = %own.id, other = %other.id, "an older hearth registered this machine anew; its record is merged");
        let step = host::merge(&own, &other, now());
        let mut commit = Commit::new();
        commit.put(schema::HOSTS, own.id.to_string(), &step.next).map_err(StartError::Commit)?;
        commit.events(&subject(&step.next), step.events).map_err(StartError::Commit)?;
        commit.delete(schema::HOSTS, other.id.to_string());
        commit.events(&subject(&other), vec![host::merged(&other)]).map_err(StartError::Commit)?;
        own = Arc::new(step.next);
        let next = Arc::clone(&own);
        commit.write_with(shared, operations, || shared.view.put_host(next)).await.map_err(StartError::Commit)?;
    }
    Ok(())
}

fn subject(host: &Host) -> Subject<'_> {
    Subject { kind: Kind::Host, id: host.id.to_string(), name: &host.name, project: &host.name, generation: host.generation }
}

/// The host that this node is: the one of its records, or one that there never was.
pub(super) fn own(hosts: &[Arc<Host>]) -> HostId {
    hosts.first().map_or_else(|| HostId::from_bits(crate::shared::new_id()), |host| host.id)
}
