//! What `hearth up` can be told.

use crate::assemble::VmmChoice;
use clap::Args;
use std::path::PathBuf;

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
}
