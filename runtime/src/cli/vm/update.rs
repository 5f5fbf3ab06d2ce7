//! `vm update`: changes what may change. Sizes, template and command line only while the VM is not running; the server says so.

use super::create::Restart;
use super::devices::{Changed, Set, or_none};
use super::drives::parse_change;
use super::given::{GivenArgs, over};
use crate::cli::change::{self, Verb};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::filter::parse_label_change;
use crate::cli::image::merged;
use crate::cli::units::{parse_mib, parse_mib_u32};
use api::client::Options;
use api::v1::{CloudInit, Interface, Metadata, Password, PatchDrive, PatchVm, PatchVmSpec};
use clap::Args;

pub const EXAMPLES: &str = "\
Examples:
  hearth vm update demo --mem 1G --vcpus 2      (while it is stopped)
  hearth vm update demo --mem 2G      (also while it runs, if it was started with --mem-max 2G or more)
  hearth vm update demo --disk 20G --drive data:40G      (both grow, also while it runs)
  hearth vm update demo --drive logs:1G      (while it is stopped: logs is new)
  hearth vm update demo --remove-drive logs      (while it is stopped: with all that is on it)
  hearth vm update demo --network default --network default,mac=02:00:00:00:00:01      (while it is stopped: all that it is to have)
  hearth vm update demo --disk-mib-per-s 20 --disk-ops-per-s none
  hearth vm update demo --label app=web --label old-
  hearth vm update demo --rename web
  hearth vm update demo --user-data ./cloud-config.yaml      (from its next start on)
  hearth vm update demo --metadata ./metadata.json      (at once, also while it runs)";

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Name or id
    vm: String,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Set a label, or take it away with KEY-; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label_change)]
    labels: Vec<(String, Option<String>)>,
    /// Virtual CPUs
    #[arg(long, visible_alias = "cpus", value_name = "N")]
    vcpus: Option<u32>,
    /// Memory: 256, 256M, 1G (while it is stopped; while it runs from what it was started with to --mem-max)
    #[arg(long, visible_alias = "memory", value_name = "SIZE", value_parser = parse_mib_u32)]
    mem: Option<u32>,
    /// How much memory it can be given while it runs: 4G; none: no more than it starts with (while it is stopped)
    #[arg(long, value_name = "SIZE|none", value_parser = parse_mib_or_none)]
    mem_max: Option<Set<u32>>,
    /// Appended to the kernel's command line; empty: nothing
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    #[command(flatten)]
    given: GivenArgs,
    /// Until it is started for the first time: have a new password made for the image's default user, and show it, this once
    #[arg(long)]
    new_password: bool,
    /// Nothing for cloud-init any more
    #[arg(long, conflicts_with_all = ["user_data", "ssh_keys", "new_password"])]
    no_cloud_init: bool,
    /// No metadata any more, at once
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,
    /// When it is started again by itself
    #[arg(long, value_enum)]
    restart: Option<Restart>,
    /// Size of the root disk, never less than it is: 4G
    #[arg(long, value_name = "SIZE", value_parser = parse_mib)]
    disk: Option<u64>,
    /// Make the data drive of that name larger: data:20G; while it is stopped also add one, or change it: data:ro, data:20G:rw; may be repeated
    #[arg(long = "drive", value_name = "NAME[:SIZE][:ro|:rw]", value_parser = parse_change)]
    drives: Vec<PatchDrive>,
    /// Take a data drive away with all that is on it (while it is stopped); may be repeated
    #[arg(long = "remove-drive", value_name = "NAME")]
    remove_drives: Vec<String>,
    /// A network interface of all that it is to have (while it is stopped), as with create; one of the same MAC stays as it is, those without a MAC
    /// are the next of those without; may be repeated
    #[arg(long = "network", value_name = "NETWORK[,mac=MAC]", value_parser = Interface::parse, conflicts_with = "no_network")]
    networks: Vec<Interface>,
    /// No network interface any more (while it is stopped)
    #[arg(long)]
    no_network: bool,
    #[command(flatten)]
    devices: Changed,
}

fn parse_mib_or_none(text: &str) -> Result<Set<u32>, String> {
    or_none(text, parse_mib_u32)
}

impl UpdateArgs {
    /// `before`: what the VM is given now, on top of which the new is laid.
    fn spec(&self, given: &Given, before: Option<CloudInit>) -> PatchVmSpec {
        let Given { cloud_init, metadata } = given.clone();
        PatchVmSpec {
            vcpus: self.vcpus,
            mem_mib: self.mem,
            mem_max_mib: self.mem_max.map(|set| set.0),
            cmdline: self.cmdline.clone(),
            restart: self.restart.map(Into::into),
            disk_mib: self.disk,
            rate_limits: self.devices.rate_limits().map(Some),
            balloon_mib: self.devices.balloon_mib,
            cpu_template: self.devices.cpu_template(),
            cloud_init: if self.no_cloud_init { Some(None) } else { cloud_init.map(|given| Some(over(given, before))) },
            metadata: if self.no_metadata { Some(None) } else { metadata.map(Some) },
            drives: Some(self.drives.clone()).filter(|drives| !drives.is_empty()),
            remove_drives: Some(self.remove_drives.clone()).filter(|names| !names.is_empty()),
            networks: Some(self.networks.clone()).filter(|networks| self.no_network || !networks.is_empty()),
        }
    }
}

/// What files and keys that are named hold.
#[derive(Clone)]
struct Given {
    cloud_init: Option<CloudInit>,
    metadata: Option<Metadata>,
}

pub async fn run(context: &Context, args: UpdateArgs) -> Result<(), CliError> {
    let mut given = Given { cloud_init: args.given.cloud_init()?, metadata: args.given.metadata()? };
    if args.new_password {
        given.cloud_init.get_or_insert_default().password = Some(Password::Generate);
    }
    let nothing = args.spec(&given, None) == PatchVmSpec::default();
    if nothing && args.rename.is_none() && args.labels.is_empty() {
        return Err(CliError::Usage { detail: "nothing to change".to_owned(), hint: "see `hearth vm update --help`" });
    }
    let (args, given) = (&args, &given);
    change::each(context, std::slice::from_ref(&args.vm), Verb::new("update", "updated"), false, |name| async move {
        let vms = context.client.vms();
        let mut options = Options::default();
        let (mut labels, mut before) = (None, None);
        if !args.labels.is_empty() || given.cloud_init.is_some() {
            // Both are replaced as a whole: only on top of what was read.
            let vm = vms.get(&name).await?;
            options.if_match = Some(vm.generation);
            labels = (!args.labels.is_empty()).then(|| merged(vm.labels, &args.labels));
            before = vm.spec.cloud_init;
        }
        let spec = args.spec(given, before);
        let spec = (spec != PatchVmSpec::default()).then_some(spec);
        vms.patch(&name, &PatchVm { name: args.rename.clone(), labels, spec }, &options).await
    })
    .await
}
