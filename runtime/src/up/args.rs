//! What `hearth up` can be told.

use crate::assemble::{
    VmmChoice,
    firecracker::{FirecrackerWanted, JAILER_UIDS, Jail},
};
use clap::Args;
use std::{ops::Range, path::PathBuf};

pub const DATA_DIR: &str = "./data";
/// In the data directory.
pub const JOURNAL: &str = "journal";

/// Start the server on this machine
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Address and port of the API and the web console
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18080")]
    pub listen: String,
    /// What runs the VMs
    #[arg(long, value_enum, default_value_t = VmmChoice::Auto)]
    pub vmm: VmmChoice,
    /// Register the images that `make setup` made and boot a VM named demo
    #[arg(long)]
    pub demo: bool,
    /// The list of images for --demo, or the folder with images.json
    #[arg(long, env = "HEARTH_IMAGES", value_name = "FILE", default_value = "build/images/images.json")]
    pub images: PathBuf,
    /// The bridge that VMs are connected to
    #[arg(long, value_name = "NAME", default_value = "hearth0")]
    pub bridge: String,
    /// The VMs' network; its first address is this machine's
    #[arg(long, value_name = "NETWORK", default_value = "10.77.0.0/16")]
    pub subnet: String,
    /// Give VMs no network
    #[arg(long)]
    pub no_network: bool,
    /// How many events are kept for streams that resume [default: 500000]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_events: Option<u64>,
    /// The Firecracker binary [default: HEARTH_FIRECRACKER, else on PATH]
    #[arg(long, value_name = "FILE")]
    pub firecracker: Option<PathBuf>,
    /// Its jailer, of the same release [default: HEARTH_JAILER, else beside Firecracker, else on PATH]
    #[arg(long, value_name = "FILE")]
    pub jailer: Option<PathBuf>,
    /// Run Firecracker without its jailer, and QEMU, as the user that hearth runs as: for a workstation, not for guests that are not trusted
    #[arg(long, conflicts_with_all = ["jailer", "jailer_uids"])]
    pub no_jailer: bool,
    /// The uids and gids that VMs get, one each, jailed or on QEMU; nobody else's on this machine [default: 1900000000-1900065535]
    #[arg(long, value_name = "FIRST-LAST", value_parser = uids)]
    pub jailer_uids: Option<Range<u32>>,
}

impl UpArgs {
    pub fn firecracker(&self) -> FirecrackerWanted {
        let jail = match self.no_jailer {
            true => Jail::None,
            false => Jail::Jailer { binary: self.jailer.clone(), uids: self.jailer_uids.clone().unwrap_or(JAILER_UIDS) },
        };
        FirecrackerWanted { binary: self.firecracker.clone(), jail }
    }
}

/// Uids below this are the system's own services on every distribution, root among them (login.defs: SYS_UID_MAX 999).
const UID_FIRST: u32 = 1_000;
/// -1 as an uid means "as it is" to the kernel.
const UID_LAST: u32 = u32::MAX - 1;

/// `FIRST-LAST`, both included.
pub fn uids(text: &str) -> Result<Range<u32>, String> {
    let number = |word: &str| {
        word.trim().parse::<u32>().map_err(|_| format!("{word:?} is no uid; write FIRST-LAST, as in 1900000000-1900065535"))
    };
    let (first, last) = text.split_once('-').ok_or("write FIRST-LAST, as in 1900000000-1900065535")?;
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("the first uid, {first}, is above the last, {last}"));
    }
    if first < UID_FIRST || last > UID_LAST {
        return Err(format!("uids for VMs are {UID_FIRST} to {UID_LAST}: those below belong to root and to services"));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_a_range_of_nobodys() {
        assert_eq!(uids("1900000000-1900065535"), Ok(1_900_000_000..1_900_065_536));
        assert_eq!(uids("1000-1000"), Ok(1000..1001));
        assert_eq!(uids("4294967294-4294967294"), Ok(u32::MAX - 1..u32::MAX));
        for (text, word) in [
            ("", "FIRST-LAST"),
            ("5", "FIRST-LAST"),
            ("a-b", "\"a\" is no uid"),
            ("1000-4294967296", "no uid"),
            ("2000-1000", "above"),
            ("0-65535", "root"),
            ("999-2000", "root"),
            ("1000-4294967295", "1000 to"),
        ] {
            let told = uids(text).unwrap_err();
            assert!(told.contains(word), "{text:?}: {told}");
        }
    }
}
