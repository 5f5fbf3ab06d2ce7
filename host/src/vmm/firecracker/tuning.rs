//! Limits and balloon in Firecracker's words: for the configuration before the start, and as changes of a machine that runs.

use super::super::Tuning;
use super::api::{
    ApiError, Microvm, Started,
    model::{DeviceId, DriveUpdate, NetworkInterfaceUpdate, RateLimiter, TokenBucket},
};
use super::config::Config;

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

pub fn drive_update(drive_id: DeviceId, tuning: &Tuning) -> DriveUpdate {
    DriveUpdate { drive_id, path_on_host: None, rate_limiter: Some(whole(disk(tuning))) }
}

pub fn interface_update(iface_id: DeviceId, tuning: &Tuning) -> NetworkInterfaceUpdate {
    NetworkInterfaceUpdate { iface_id, rx_rate_limiter: Some(whole(receive(tuning))), tx_rate_limiter: Some(whole(send(tuning))) }
}

/// Of the machine with that configuration. What is so already is said again, which changes nothing.
pub async fn apply<P: Started>(machine: &Microvm<P>, tuning: &Tuning, config: &Config) -> Result<(), ApiError> {
    for id in [super::config::root_id()?].into_iter().chain(config.drives.iter().map(|drive| drive.drive_id.clone())) {
        machine.update_drive(&drive_update(id, tuning)).await?;
    }
    for nic in config.nics() {
        machine.update_network_interface(&interface_update(nic.iface_id.clone(), tuning)).await?;
    }
    match machine.update_balloon(tuning.balloon_mib).await {
        // One without the device, as of a snapshot that has none, has no balloon, as is wanted.
        Err(ApiError::Refused { .. }) if tuning.balloon_mib == 0 => Ok(()),
        told => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::vm::RateLimits;

    fn tuning() -> Tuning {
        let rate_limits = RateLimits { disk_mib_per_s: Some(3), rx_mbit_per_s: Some(8), ..RateLimits::default() };
        Tuning { rate_limits, balloon_mib: 0 }
    }

    #[test]
    fn what_is_not_wanted_is_absent_at_the_start_and_taken_away_by_an_update() {
        let bucket = |size| Some(TokenBucket::per_second(size));
        assert_eq!(disk(&tuning()), Some(RateLimiter { bandwidth: bucket(3 << 20), ops: None }));
        assert_eq!(receive(&tuning()), Some(RateLimiter { bandwidth: bucket(1_000_000), ops: None }));
        assert_eq!((send(&tuning()), disk(&Tuning::default())), (None, None));
        let gone = Some(TokenBucket::NO_LIMIT);
        let none = Some(RateLimiter { bandwidth: gone, ops: gone });
        assert_eq!(drive_update("drive_1".parse().unwrap(), &Tuning::default()).rate_limiter, none);
        let update = interface_update("eth1".parse().unwrap(), &tuning());
        assert_eq!(update.rx_rate_limiter, Some(RateLimiter { bandwidth: bucket(1_000_000), ops: gone }));
        assert_eq!(update.tx_rate_limiter, none);
    }
}
