//! Which VM was given which addresses and MACs, in a table of its own, so that they stay taken when the VM's record can't be read.
//!
//! An entry is made in the batch that gives a VM the first, follows each change in the batch of the change, and goes in the batch that takes
//! the last. Journals of before have none; the start writes what is missing. At start also an entry goes whose record was set aside and has
//! been cleared away since.

use crate::{
    commit::Commit,
    error::{CommandError, StartError, chain},
    shared::Shared,
};
use domain::{
    VmId,
    ipam::mac_of,
    vm::{Nic, Vm},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    net::Ipv4Addr,
    sync::Arc,
};
use storage::{
    Batch,
    envelope::{self, DecodeError, Stored, exact},
};

pub const TABLE: &str = "addresses";
/// Entries written in one batch at start: some 200 bytes each at most, far below a batch's limit.
const CHUNK: usize = 1_000;

/// All that one VM has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
}

/// One address, whose MAC was made from it. Written too, where it says all: an older hearth, which sets the VM's record aside because it
/// can't read it, reads this and gives the address to nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Given1 {
    address: Ipv4Addr,
}

impl Stored for Given1 {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "address";
}

impl Stored for Given {
    const SCHEMA: u16 = 2;
    const NAME: &'static str = "address";

    fn upgrade(schema: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => Ok(exact::<Given1>(Self::NAME, schema, payload)?.into()),
            _ => Err(DecodeError::NoUpgrade { name: Self::NAME, found: schema, known: Self::SCHEMA }),
        }
    }
}

impl From<Given1> for Given {
    fn from(Given1 { address }: Given1) -> Given {
        Given { entries: vec![Entry { address, mac: mac_of(address) }] }
    }
}

impl Given {
    /// Where the earlier shape says all.
    fn plain(&self) -> Option<Given1> {
        let [Entry { address, mac }] = self.entries[..] else { return None };
        (mac == mac_of(address)).then_some(Given1 { address })
    }

    fn of(nics: &[Nic]) -> Given {
        Given { entries: nics.iter().map(|nic| Entry { address: nic.address, mac: nic.mac }).collect() }
    }
}

/// Into the batch of a decision about the VM: what it holds from now on, or no longer. Most decisions change nothing of it.
pub(super) fn follow(commit: &mut Commit, before: Option<&Vm>, next: Option<&Vm>) -> Result<(), CommandError> {
    let nics = |vm: Option<&Vm>| vm.map_or(Given::default(), |vm| Given::of(&vm.nics));
    let (was, is) = (nics(before), nics(next));
    match before.or(next) {
        Some(vm) if was != is && is.entries.is_empty() => commit.delete(TABLE, vm.id.to_string()),
        Some(vm) if was != is => commit.put_bytes(TABLE, vm.id.to_string(), encode(&is)?),
        _ => {}
    }
    Ok(())
}

/// Makes the table agree with the records; gives what VMs have whose records were set aside.
pub(crate) async fn settle(shared: &Shared, records: &[Arc<Vm>], aside: &[VmId]) -> Result<Vec<(VmId, Entry)>, StartError> {
    let (mut noted, mut strange) = (BTreeMap::new(), Vec::new());
    let note = |key: &str, given: Result<Given, _>| match (given, key.parse::<VmId>()) {
        (Ok(given), Ok(id)) => drop(noted.insert(id, given)),
        (Ok(_), Err(_)) => strange.push(key.to_owned()),
        (Err(error), _) => {
            tracing::error!(key, %error, "the note of addresses can't be read; it is made anew if its VM is there");
        }
    };
    shared.journal.each(TABLE, note).map_err(StartError::Journal)?;
    let held = aside.iter().filter_map(|id| Some((*id, noted.get(id)?)));
    let held = held.flat_map(|(id, given)| given.entries.iter().map(move |entry| (id, *entry))).collect();
    let mut changes = Vec::new();
    for record in records.iter().filter(|vm| !vm.nics.is_empty()) {
        let given = Given::of(&record.nics);
        if noted.get(&record.id) != Some(&given) {
            changes.push((record.id.to_string(), Some(given)));
        }
    }
    let with_address = records.iter().filter(|vm| !vm.nics.is_empty()).map(|vm| vm.id);
    let known: HashSet<VmId> = with_address.chain(aside.iter().copied()).collect();
    let left = noted.into_keys().filter(|id| !known.contains(id)).map(|id| id.to_string());
    changes.extend(left.chain(strange).map(|key| (key, None)));
    for chunk in changes.chunks(CHUNK) {
        let mut batch = Batch::default();
        for (key, given) in chunk {
            batch = match given {
                Some(given) => batch.put(TABLE, key.clone(), encode(given).map_err(StartError::Commit)?),
                None => batch.delete(TABLE, key.clone()),
            };
        }
        shared.journal.commit(batch).await.map_err(|error| StartError::Commit(error.into()))?;
    }
    Ok(held)
}

/// In the earlier shape where that says all.
fn encode(given: &Given) -> Result<Vec<u8>, CommandError> {
    let bytes = given.plain().map_or_else(|| envelope::encode(given), |plain| envelope::encode(&plain));
    bytes.map_err(|error| CommandError::Storage { detail: chain(&error), full: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::envelope::{decode, encode};

    /// The bytes of each number lie with those of the other records; see `storage/tests/golden_formats.rs` for when they may change.
    fn golden(number: u16) -> String {
        format!("{}/../storage/tests/golden/address-{number}.bin", env!("CARGO_MANIFEST_DIR"))
    }

    /// What journals of earlier versions hold is read, and is what their VMs have: nothing is written anew for it.
    #[test]
    fn address_1() {
        let bytes = std::fs::read(golden(1)).unwrap();
        let (length, record) = bytes.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*length) as usize, record.len());
        let address = Ipv4Addr::new(10, 77, 0, 2);
        let expected = Given { entries: vec![Entry { address, mac: [0x02, 0x68, 10, 77, 0, 2] }] };
        assert_eq!(decode::<Given>(record).unwrap(), expected);
        // And so it is written on, for an older hearth.
        assert_eq!(super::encode(&expected).unwrap(), record);
    }

    #[test]
    fn address_2() {
        let address = Ipv4Addr::new(10, 77, 0, 2);
        let chosen = Entry { address: Ipv4Addr::new(10, 77, 1, 3), mac: [0x52, 0x54, 0, 1, 2, 255] };
        let example = Given { entries: vec![Entry { address, mac: mac_of(address) }, chosen] };
        let bytes = encode(&example).unwrap();
        assert_eq!(decode::<Given>(&bytes).unwrap(), example);
        let mut written = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        written.extend_from_slice(&bytes);
        if std::env::var_os("HEARTH_WRITE_GOLDEN").is_some() {
            std::fs::write(golden(2), &written).unwrap();
        }
        assert!(std::fs::read(golden(2)).unwrap() == written, "what lies in journals would be read as something else");
    }
}
