//! Who holds how much of a host's memory and processors. Memory is never oversold; vCPUs are shared by time and only counted.

use crate::VmId;
use std::collections::BTreeMap;

/// What a host has for VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    pub vcpus: u32,
    pub mem_mib: u64,
}

/// What one VM holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub vcpus: u32,
    pub mem_mib: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has {free_mib} MiB of memory free for VMs, {asked_mib} MiB are asked for")]
pub struct Full {
    pub free_mib: u64,
    pub asked_mib: u64,
}

/// The ledger of one host. Rebuilt from the VMs' records at start; it is an index, not a truth.
#[derive(Debug, Default)]
pub struct Ledger {
    capacity: Capacity,
    shares: BTreeMap<VmId, Share>,
    mem_mib: u64,
    vcpus: u64,
}

impl Ledger {
    pub fn new(capacity: Capacity) -> Ledger {
        Ledger { capacity, ..Ledger::default() }
    }

    /// What is held stays held, even if it is more than the new capacity: running guests are not ended by arithmetic.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    pub fn held(&self) -> (u64, u64) {
        (self.vcpus, self.mem_mib)
    }

    /// Reserves for `vm`; asking again for the same VM replaces its share.
    pub fn reserve(&mut self, vm: VmId, share: Share) -> Result<(), Full> {
        let own = self.shares.get(&vm).map_or(0, |held| u64::from(held.mem_mib));
        let others = self.mem_mib - own;
        if others + u64::from(share.mem_mib) > self.capacity.mem_mib {
            let free_mib = self.capacity.mem_mib.saturating_sub(others);
            return Err(Full { free_mib, asked_mib: u64::from(share.mem_mib) });
        }
        self.hold(vm, share);
        Ok(())
    }

    /// Enters a share that is already in use, whatever the capacity says: for VMs that were found running.
    pub fn hold(&mut self, vm: VmId, share: Share) {
        self.release(vm);
        self.mem_mib += u64::from(share.mem_mib);
        self.vcpus += u64::from(share.vcpus);
        self.shares.insert(vm, share);
    }

    /// Releases all that `keeps` does not want.
    pub fn retain(&mut self, keeps: impl Fn(VmId) -> bool) {
        let gone: Vec<VmId> = self.shares.keys().copied().filter(|vm| !keeps(*vm)).collect();
        for vm in gone {
            self.release(vm);
        }
    }

    pub fn release(&mut self, vm: VmId) {
        if let Some(share) = self.shares.remove(&vm) {
            self.mem_mib -= u64::from(share.mem_mib);
            self.vcpus -= u64::from(share.vcpus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(n: u128) -> VmId {
        VmId::from_bits(n)
    }

    #[test]
    fn memory_is_never_oversold() {
        let mut ledger = Ledger::new(Capacity { vcpus: 2, mem_mib: 300 });
        let share = Share { vcpus: 4, mem_mib: 128 };
        assert_eq!(ledger.reserve(vm(1), share), Ok(()));
        assert_eq!(ledger.reserve(vm(2), share), Ok(()));
        assert_eq!(ledger.reserve(vm(3), share), Err(Full { free_mib: 44, asked_mib: 128 }));
        assert_eq!(ledger.reserve(vm(2), share), Ok(()), "asking again is no second share");
        ledger.release(vm(1));
        ledger.release(vm(1));
        assert_eq!(ledger.reserve(vm(3), share), Ok(()));
        assert_eq!(ledger.held(), (8, 256));
    }

    #[test]
    fn what_runs_already_is_entered_even_when_it_is_too_much() {
        let mut ledger = Ledger::new(Capacity { vcpus: 1, mem_mib: 100 });
        ledger.hold(vm(1), Share { vcpus: 1, mem_mib: 128 });
        assert_eq!(ledger.reserve(vm(2), Share { vcpus: 1, mem_mib: 64 }), Err(Full { free_mib: 0, asked_mib: 64 }));
    }
}
