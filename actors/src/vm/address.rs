//! Which VM was given which address, in a table of its own, so that an address stays taken when its VM's record can't be read.
//!
//! An entry is made in the batch that makes the VM's record and goes in the batch that removes it. Journals of before have none; the start
//! writes what is missing. At start also an entry goes whose record was set aside and has been cleared away since.

use crate::{commit::Commit, error::StartError, shared::Shared};
use domain::{VmId, vm::Vm};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    net::Ipv4Addr,
    sync::Arc,
};
use storage::{
    Batch,
    envelope::{self, Stored},
};

pub const TABLE: &str = "addresses";
/// Entries written in one batch at start: 64 bytes each at most, far below a batch's limit.
const CHUNK: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub address: Ipv4Addr,
}

impl Stored for Given {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "address";
}

/// Into the batch of a decision about the VM: what it holds from now on, or no longer. Most decisions change nothing of it.
pub(super) fn follow(commit: &mut Commit, before: Option<&Vm>, next: Option<&Vm>) -> Result<(), crate::CommandError> {
    let address = |vm: Option<&Vm>| vm.and_then(|vm| vm.nic.as_ref()).map(|nic| nic.address);
    match (address(before), address(next), before.or(next)) {
        (was, is, _) if was == is => Ok(()),
        (_, Some(address), Some(vm)) => commit.put(TABLE, vm.id.to_string(), &Given { address }),
        (Some(_), None, Some(vm)) => {
            commit.delete(TABLE, vm.id.to_string());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Makes the table agree with the records; gives the addresses of VMs whose records were set aside.
pub(crate) async fn settle(shared: &Shared, records: &[Arc<Vm>], aside: &[VmId]) -> Result<Vec<Ipv4Addr>, StartError> {
    let (mut noted, mut strange) = (BTreeMap::new(), Vec::new());
    let note = |key: &str, given: Result<Given, _>| match (given, key.parse::<VmId>()) {
        (Ok(given), Ok(id)) => drop(noted.insert(id, given.address)),
        (Ok(_), Err(_)) => strange.push(key.to_owned()),
        (Err(error), _) => {
            tracing::error!(key, %error, "the note of an address can't be read; it is made anew if its VM is there");
        }
    };
    shared.journal.each(TABLE, note).map_err(StartError::Journal)?;
    let held = aside.iter().filter_map(|id| noted.get(id).copied()).collect();
    let mut changes = Vec::new();
    for record in records {
        if let Some(nic) = &record.nic
            && noted.get(&record.id) != Some(&nic.address)
        {
            changes.push((record.id.to_string(), Some(Given { address: nic.address })));
        }
    }
    let with_address = records.iter().filter(|vm| vm.nic.is_some()).map(|vm| vm.id);
    let known: HashSet<VmId> = with_address.chain(aside.iter().copied()).collect();
    let left = noted.into_keys().filter(|id| !known.contains(id)).map(|id| id.to_string());
    changes.extend(left.chain(strange).map(|key| (key, None)));
    for chunk in changes.chunks(CHUNK) {
        let mut batch = Batch::default();
        for (key, given) in chunk {
            batch = match given {
                Some(given) => batch.put(TABLE, key.clone(), encode(given)?),
                None => batch.delete(TABLE, key.clone()),
            };
        }
        shared.journal.commit(batch).await.map_err(|error| StartError::Commit(error.into()))?;
    }
    Ok(held)
}

fn encode(given: &Given) -> Result<Vec<u8>, StartError> {
    envelope::encode(given)
        .map_err(|error| StartError::Commit(crate::CommandError::Storage { detail: crate::error::chain(&error), full: false }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::envelope::{decode, encode};

    /// The bytes of schema 1 lie with those of the other records; see `storage/tests/golden_formats.rs` for when they may change.
    #[test]
    fn address_1() {
        let example = Given { address: Ipv4Addr::new(10, 77, 0, 2) };
        let bytes = encode(&example).unwrap();
        assert_eq!(decode::<Given>(&bytes).unwrap(), example);
        let mut written = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        written.extend_from_slice(&bytes);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../storage/tests/golden/address-1.bin");
        if std::env::var_os("HEARTH_WRITE_GOLDEN").is_some() {
            std::fs::write(file, &written).unwrap();
        }
        assert!(std::fs::read(file).unwrap() == written, "what lies in journals would be read as something else");
    }
}
