//! `vm update`: changes what may change. Size and command line only while the VM is not running; the server says so.

use super::create::Restart;
use super::given::{GivenArgs, over};
use crate::cli::change::{self, Verb};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::filter::parse_label_change;
use crate::cli::image::merged;
use crate::cli::units::parse_mib_u32;
use api::client::Options;
use api::v1::{PatchVm, PatchVmSpec};
use clap::Args;

pub const EXAMPLES: &str = "\
Examples:
  hearth vm update demo --mem 1G --vcpus 2      (while it is stopped)
  hearth vm update demo --label app=web --label old-
  hearth vm update demo --rename web
  hearth vm update demo --user-data ./cloud-config.yaml      (from its next start on)";

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
    /// Memory: 256, 256M, 1G
    #[arg(long, visible_alias = "memory", value_name = "SIZE", value_parser = parse_mib_u32)]
    mem: Option<u32>,
    /// Appended to the kernel's command line; empty: nothing
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    #[command(flatten)]
    given: GivenArgs,
    /// Nothing for cloud-init any more
    #[arg(long, conflicts_with_all = ["user_data", "ssh_keys"])]
    no_cloud_init: bool,
    /// No metadata any more
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,
    /// When it is started again by itself
    #[arg(long, value_enum)]
    restart: Option<Restart>,
}

impl UpdateArgs {
    fn changes_something(&self) -> bool {
        let spec = self.vcpus.is_some() || self.mem.is_some() || self.cmdline.is_some() || self.restart.is_some();
        let given = !self.given.is_empty() || self.no_cloud_init || self.no_metadata;
        spec || given || self.rename.is_some() || !self.labels.is_empty()
    }
}

pub async fn run(context: &Context, args: UpdateArgs) -> Result<(), CliError> {
    if !args.changes_something() {
        return Err(CliError::Usage { detail: "nothing to change".to_owned(), hint: "see `hearth vm update --help`" });
    }
    let (cloud_init, metadata) = (&args.given.cloud_init()?, &args.given.metadata()?);
    let args = &args;
    change::each(context, std::slice::from_ref(&args.vm), Verb::new("update", "updated"), false, |name| async move {
        let vms = context.client.vms();
        let mut options = Options::default();
        let (mut labels, mut before) = (None, None);
        if !args.labels.is_empty() || cloud_init.is_some() {
            // Both are replaced as a whole: only on top of what was read.
            let vm = vms.get(&name).await?;
            options.if_match = Some(vm.generation);
            labels = (!args.labels.is_empty()).then(|| merged(vm.labels, &args.labels));
            before = vm.spec.cloud_init;
        }
        let spec = PatchVmSpec {
            vcpus: args.vcpus,
            mem_mib: args.mem,
            cmdline: args.cmdline.clone(),
            restart: args.restart.map(Into::into),
            cloud_init: if args.no_cloud_init { Some(None) } else { cloud_init.clone().map(|given| Some(over(given, before))) },
            metadata: if args.no_metadata { Some(None) } else { metadata.clone().map(Some) },
        };
        let spec = (spec != PatchVmSpec::default()).then_some(spec);
        vms.patch(&name, &PatchVm { name: args.rename.clone(), labels, spec }, &options).await
    })
    .await
}
