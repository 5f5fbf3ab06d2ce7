//! Limits, balloon, memory and sizes of disks in Firecracker's words: limits and balloon for the configuration before the start, and all of them as
//! changes of a machine that runs.

use super::super::{
    Tuning, VmmError,
    limits::{self, FIRECRACKER_MIB, Needs, transfers},
    shared::drives,
};
use super::api::{
    ApiError, Microvm, Started,
    model::{Backing, DeviceId, Drive, DriveUpdate, NetworkInterfaceUpdate, RateLimiter, TokenBucket},
};
use super::asking::call_error;
use super::config::{self, Config, MEMORY_BLOCK_MIB};
use super::disk;
use super::files::DISK;
use domain::vm::DiskSizes;
use std::path::Path;

const MIB: u64 = 1024 * 1024;
/// Bytes in a megabit.
const MBIT: u64 = 1_000_000 / 8;

/// Of the root drive and of each data drive; absent: no limit.
pub fn disk(tuning: &Tuning) -> Option<RateLimiter> {
    let limits = &tuning.rate_limits;
    some(RateLimiter {
        bandwidth: limits.disk_mib_per_s.map(|most| TokenBucket::per_second(u64::from(most) * MIB)),
        ops: limits.disk_ops_per_s.map(|most| TokenBucket::per_second(most.into())),
    })
}

/// Towards the guest.
pub fn receive(tuning: &Tuning) -> Option<RateLimiter> {
    network(tuning.rate_limits.rx_mbit_per_s)
}

/// From the guest.
pub fn send(tuning: &Tuning) -> Option<RateLimiter> {
    network(tuning.rate_limits.tx_mbit_per_s)
}

fn network(mbit_per_s: Option<u32>) -> Option<RateLimiter> {
    let bandwidth = mbit_per_s.map(|most| TokenBucket::per_second(u64::from(most) * MBIT));
    some(RateLimiter { bandwidth, ops: None })
}

fn some(limiter: RateLimiter) -> Option<RateLimiter> {
    Some(limiter).filter(|limiter| *limiter != RateLimiter::default())
}

/// As an update, in which what is absent would stay: a limit that is not wanted is taken away by name.
fn whole(limiter: Option<RateLimiter>) -> RateLimiter {
    let limiter = limiter.unwrap_or_default();
    let bucket = |bucket: Option<TokenBucket>| Some(bucket.unwrap_or(TokenBucket::NO_LIMIT));
    RateLimiter { bandwidth: bucket(limiter.bandwidth), ops: bucket(limiter.ops) }
}

/// Makes the files of a running machine's disks as large as they are to be, of which it hears by [`apply`]. Blocks.
///
/// Errors: those of [`disk::grow_running`]. Disks before the one that failed have grown.
pub fn grow(disks: &DiskSizes, folder: &Path) -> Result<(), VmmError> {
    let root = disks.root_mib.map(|wanted| (DISK.to_owned(), wanted));
    let drives = disks.drives_mib.iter().map(|(number, wanted)| (drives::file(*number), *wanted));
    let mut all = root.into_iter().chain(drives);
    all.try_for_each(|(file, wanted)| disk::grow_running(&folder.join(file), wanted.saturating_mul(MIB)))
}

/// Lets the process of a running machine use as much memory as it is to be given, before it is, and bounds what it transfers by its new limits.
/// `folder`: the VM's. Blocks.
pub fn make_room(tuning: &Tuning, config: &Config, folder: &Path, group: &Path) -> Result<(), VmmError> {
    transfers::set(&tuning.rate_limits, 1 + config.drives.len(), folder, group);
    let Some(mem_mib) = tuning.mem_mib else { return Ok(()) };
    let needs = Needs { vcpus: config.machine.vcpu_count.into(), mem_mib, overhead_mib: FIRECRACKER_MIB, io: None };
    limits::raise_memory(group, &needs).map_err(|error| {
        let detail = format!("the limit of its memory ({}) can't be raised: {error}", group.display());
        VmmError::Refused { call: PLUG, detail }
    })
}

/// As [`call_error`], with the reason where it is the guest's.
pub fn tune_error(error: ApiError) -> VmmError {
    match error {
        ApiError::Refused { call: call @ PLUG, fault } if fault.contains("not active") => {
            let detail = format!("the guest has no driver for memory that comes while it runs (virtio_mem): {fault}");
            VmmError::Refused { call, detail }
        }
        error => call_error(error),
    }
}

const PLUG: &str = "PATCH /hotplug/memory";

/// What its memory device is to hold beside what the machine began with; absent: it has none, or nobody asks. Firecracker takes whole blocks.
fn plugged(tuning: &Tuning, config: &Config) -> Option<u64> {
    let (wanted, room) = (u64::from(tuning.mem_mib?), config.memory.as_ref()?);
    let more = wanted.saturating_sub(config.machine.mem_size_mib);
    Some(more.next_multiple_of(MEMORY_BLOCK_MIB).min(room.total_size_mib))
}

/// Of the root and of each data drive. A path, the same as ever, has Firecracker look at the file's size and tell the guest.
fn drive_updates(config: &Config, tuning: &Tuning) -> Result<Vec<DriveUpdate>, ApiError> {
    let mut sized = Vec::new();
    for (number, _) in &tuning.disks.drives_mib {
        sized.push(config::data_id(*number)?);
    }
    if tuning.disks.root_mib.is_some() {
        sized.push(config::root_id()?);
    }
    let update = |drive: &Drive| {
        let path_on_host = match &drive.backing {
            Backing::File { path_on_host, .. } if sized.contains(&drive.drive_id) => Some(path_on_host.clone()),
            _ => None,
        };
        DriveUpdate { drive_id: drive.drive_id.clone(), path_on_host, rate_limiter: Some(whole(disk(tuning))) }
    };
    Ok([&config.root].into_iter().chain(&config.drives).map(update).collect())
}

pub fn interface_update(iface_id: DeviceId, tuning: &Tuning) -> NetworkInterfaceUpdate {
    NetworkInterfaceUpdate { iface_id, rx_rate_limiter: Some(whole(receive(tuning))), tx_rate_limiter: Some(whole(send(tuning))) }
}

/// Of the machine with that configuration. What is so already is said again, which changes nothing.
pub async fn apply<P: Started>(machine: &Microvm<P>, tuning: &Tuning, config: &Config) -> Result<(), ApiError> {
    for update in drive_updates(config, tuning)? {
        machine.update_drive(&update).await?;
    }
    for nic in config.nics() {
        machine.update_network_interface(&interface_update(nic.iface_id.clone(), tuning)).await?;
    }
    // A guest that has no driver for the one may have one for the other.
    let memory = plug(machine, tuning, config).await;
    match machine.update_balloon(tuning.balloon_mib).await {
        // One without the device, as of a snapshot that has none, has no balloon, as is wanted.
        Err(ApiError::Refused { .. }) if tuning.balloon_mib == 0 => memory,
        told => told.and(memory),
    }
}

async fn plug<P: Started>(machine: &Microvm<P>, tuning: &Tuning, config: &Config) -> Result<(), ApiError> {
    let Some(plugged) = plugged(tuning, config) else { return Ok(()) };
    // A guest without a driver for it refuses to be told anything, also what is so already.
    if machine.hotplug_memory().await?.requested_size_mib == plugged { Ok(()) } else { machine.plug_memory(plugged).await }
}

#[cfg(test)]
mod tests {
    use super::super::{api::model::HotplugMemory, config::Paths, version::Version};
    use super::*;
    use crate::vmm::sample;
    use domain::vm::{DriveChange, Drives, RateLimits};
    use std::path::PathBuf;

    fn tuning() -> Tuning {
        let rate_limits = RateLimits { disk_mib_per_s: Some(3), rx_mbit_per_s: Some(8), ..RateLimits::default() };
        Tuning { rate_limits, ..Tuning::default() }
    }

    fn config() -> Config {
        let change = |name: &str| DriveChange { name: name.parse().unwrap(), size_mib: Some(1), read_only: None };
        let mut plan = sample::plan();
        plan.disk.drives = Drives::new(&[change("a"), change("b")]);
        let paths = Paths {
            kernel: "/kernel".into(),
            initrd: "/initrd".into(),
            disk: "/disk".into(),
            seed: None,
            drives: "/drives".into(),
            vsock: "/v.sock".into(),
        };
        config::config(&plan, paths, &Version::parse("1.16.1")).unwrap()
    }

    #[test]
    fn only_a_disk_whose_size_is_asked_is_looked_at_again() {
        let disks = DiskSizes { root_mib: None, drives_mib: vec![(1, 1024)] };
        let told = |tuning| -> Vec<(String, Option<PathBuf>)> {
            let updates = drive_updates(&config(), &tuning).unwrap();
            updates.into_iter().map(|update| (update.drive_id.to_string(), update.path_on_host)).collect()
        };
        let named = |id: &str, path: Option<&str>| (id.to_owned(), path.map(PathBuf::from));
        let expected = [named("root", None), named("drive_0", None), named("drive_1", Some("/drives/drive-1.raw"))];
        assert_eq!(told(Tuning { disks, ..tuning() }), expected);
        let disks = DiskSizes { root_mib: Some(1), drives_mib: vec![] };
        let expected = [named("root", Some("/disk")), named("drive_0", None), named("drive_1", None)];
        assert_eq!(told(Tuning { disks, ..tuning() }), expected);
    }

    #[test]
    fn memory_beyond_what_it_began_with_is_plugged_in_whole_blocks() {
        let mut config = config();
        let asked = |mem_mib, config: &Config| plugged(&Tuning { mem_mib, ..Tuning::default() }, config);
        assert_eq!(asked(Some(300), &config), None, "it has no device for it");
        let of = |total_size_mib| Some(HotplugMemory { total_size_mib, slot_size_mib: None, block_size_mib: None });
        (config.machine.mem_size_mib, config.memory) = (256, of(128));
        let all = [None, Some(256), Some(257), Some(300), Some(384), Some(100), Some(1000)].map(|wanted| asked(wanted, &config));
        assert_eq!(all, [None, Some(0), Some(2), Some(44), Some(128), Some(0), Some(128)]);
    }

    #[test]
    fn a_guest_without_a_driver_for_memory_is_told_as_that() {
        let refused = |call, fault: &str| tune_error(ApiError::Refused { call, fault: fault.to_owned() }).to_string();
        let told = refused(PLUG, "Memory hotplug update error: Device is not active");
        assert!(told.contains("no driver for memory") && told.ends_with("Device is not active"), "{told}");
        assert_eq!(refused(PLUG, "x"), "the VMM refused PATCH /hotplug/memory: x");
    }

    #[test]
    fn what_is_not_wanted_is_absent_at_the_start_and_taken_away_by_an_update() {
        let bucket = |size| Some(TokenBucket::per_second(size));
        assert_eq!(disk(&tuning()), Some(RateLimiter { bandwidth: bucket(3 << 20), ops: None }));
        assert_eq!(receive(&tuning()), Some(RateLimiter { bandwidth: bucket(1_000_000), ops: None }));
        assert_eq!((send(&tuning()), disk(&Tuning::default())), (None, None));
        let gone = Some(TokenBucket::NO_LIMIT);
        let none = Some(RateLimiter { bandwidth: gone, ops: gone });
        for update in drive_updates(&config(), &Tuning::default()).unwrap() {
            assert_eq!((update.rate_limiter, update.path_on_host), (none, None));
        }
        let update = interface_update("eth1".parse().unwrap(), &tuning());
        assert_eq!(update.rx_rate_limiter, Some(RateLimiter { bandwidth: bucket(1_000_000), ops: gone }));
        assert_eq!(update.tx_rate_limiter, none);
    }
}
