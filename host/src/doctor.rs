//! What this machine can do, one check a line, each with its remedy: `hearth doctor`.
//!
//! Things are tried rather than looked up, and nothing is left behind: devices and rules are made in a network namespace that ends with
//! the probe, files without a name. Whether a guest boots on this KVM only the VMM driver can try; the caller hands the result in.
//! Every probe has a deadline; they run side by side.

mod jail;
mod kvm;
mod machine;
mod network;
pub(crate) mod programs;
mod report;
mod storage;
#[cfg(test)]
mod tests;
mod vmm;

pub(crate) use kvm::remedy as kvm_remedy;
pub(crate) use machine::lost;
pub use report::{Check, Report, Status};
pub(crate) use vmm::older;

use std::{ops::Range, path::PathBuf, time::Duration};
use tokio::{task::spawn_blocking, time::timeout};

/// What is to be looked at, and what the caller knows already.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where hearth keeps its data, or will; need not exist yet.
    pub data_dir: PathBuf,
    /// `--firecracker`; else `HEARTH_FIRECRACKER`, else PATH.
    pub firecracker: Option<PathBuf>,
    /// `--jailer`; else `HEARTH_JAILER`, else beside Firecracker, else PATH.
    pub jailer: Option<PathBuf>,
    /// The uids that jails are given.
    pub jailer_uids: Range<u32>,
    pub guest_boot: GuestBoot,
    /// The same with Firecracker.
    pub firecracker_boot: GuestBoot,
}

/// What the driver's self-test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestBoot {
    NotTried,
    /// With how long it took, or the like.
    Boots {
        detail: String,
    },
    Fails {
        detail: String,
    },
}

/// What programs and the kernel tell, as the fuzzer wants it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    if let Ok(chains) = network::parse_chains(input) {
        assert!(chains.len() <= input.len());
    }
    let text = String::from_utf8_lossy(input);
    if let machine::Cgroups::Unified { at } = machine::cgroups(&text) {
        assert!(text.contains(&at));
    }
    if let Some((major, minor)) = vmm::numbers(&text) {
        assert!(text.contains(&major.to_string()) || text.contains(&format!("0{major}")), "{major}.{minor} in {text:?}");
    }
}

/// Looking at files of /proc and /sys takes microseconds; a data directory on a dead network share hangs for ever.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// Takes well under a second; at most about twenty when everything hangs.
pub async fn run(options: Options) -> Report {
    let data_dir = options.data_dir.clone();
    let uids = options.jailer_uids.clone();
    let (kvm, vmm, jail, network, storage, machine) = tokio::join!(
        look("kvm", move || kvm::checks(&options.guest_boot, &options.firecracker_boot)),
        vmm::checks(options.firecracker.as_deref(), options.jailer.as_deref()),
        look("jail", move || vec![jail::uids(&uids)]),
        network::checks(),
        look("storage", move || storage::checks(&data_dir)),
        look("machine", machine::checks),
    );
    let checks = [kvm, vmm, jail, network, storage, machine].concat();
    Report { hearth_version: env!("CARGO_PKG_VERSION").to_owned(), checks }
}

/// Runs checks that may block on a thread of their own. One that hangs is left behind and reported.
async fn look(group: &'static str, checks: impl FnOnce() -> Vec<Check> + Send + 'static) -> Vec<Check> {
    let failed = |detail: String| vec![Check::new(group, "Looking at the machine", Status::Failed, detail)];
    match timeout(LOOK_DEADLINE, spawn_blocking(checks)).await {
        Ok(Ok(checks)) => checks,
        Ok(Err(error)) => failed(format!("the check broke off: {error}")),
        Err(_) => failed(format!("no answer within {} s", LOOK_DEADLINE.as_secs())),
    }
}
