//! `vm create`: makes a VM and, because people who make one want it to run, starts it.

use super::devices::Wanted;
use super::drives::parse_drive;
use super::given::GivenArgs;
use crate::cli::change::{self, Verb};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::filter::parse_label;
use crate::cli::units::{parse_mib, parse_mib_u32};
use api::client::Options;
use api::v1::{CreateVm, Drive, Interface, Password, RestartPolicy, VmSpec};
use clap::{Args, ValueEnum};

pub const EXAMPLES: &str = "\
The VM is started as soon as it is made; --no-start leaves it at that.

Examples:
  hearth vm create demo --image busybox
  hearth vm create --name web --image busybox --vcpus 2 --mem 1G --disk 4G --label app=web
  hearth vm create db --image debian --drive data:20G --drive base:2G:ro
  hearth vm create slow --image busybox --disk-mib-per-s 20 --disk-ops-per-s 500
  hearth vm create spare --image busybox --no-start --no-network
  hearth vm create router --image debian --network default --network default,mac=02:00:00:00:00:01
  hearth vm create app --image debian --ssh-key ~/.ssh/id_ed25519.pub --user-data ./cloud-config.yaml
  hearth vm create app --image debian --password";

/// The network that a VM gets when nothing is said.
const DEFAULT_NETWORK: &str = "default";

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name; made up by the server when absent
    #[arg(value_name = "NAME", conflicts_with = "name")]
    positional_name: Option<String>,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// The image of its root disk
    #[arg(long)]
    image: String,
    /// The kernel's image [default: the default kernel]
    #[arg(long)]
    kernel: Option<String>,
    /// Virtual CPUs
    #[arg(long, visible_alias = "cpus", value_name = "N", default_value_t = 1)]
    vcpus: u32,
    /// Memory: 256, 256M, 1G
    #[arg(long, visible_alias = "memory", value_name = "SIZE", default_value = "256M", value_parser = parse_mib_u32)]
    mem: u32,
    /// How much memory it can be given while it runs, by `vm update --mem`: 4G [default: no more than it starts with]
    #[arg(long, value_name = "SIZE", value_parser = parse_mib_u32)]
    mem_max: Option<u32>,
    /// Size of the root disk: 512M, 4G [default: as large as the image]
    #[arg(long, value_name = "SIZE", value_parser = parse_mib)]
    disk: Option<u64>,
    /// A data drive: data:10G, or data:10G:ro for one that is read-only; may be repeated
    #[arg(long = "drive", value_name = "NAME:SIZE[:ro]", value_parser = parse_drive)]
    drives: Vec<Drive>,
    /// Appended to the kernel's command line
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// The host to run on [default: chosen]
    #[arg(long)]
    host: Option<String>,
    /// A network interface: default, or default,mac=02:00:00:00:00:01 for one with that MAC; may be repeated [default: default]
    #[arg(long = "network", value_name = "NETWORK[,mac=MAC]", value_parser = Interface::parse, conflicts_with = "no_network")]
    networks: Vec<Interface>,
    /// No network
    #[arg(long)]
    no_network: bool,
    #[command(flatten)]
    given: GivenArgs,
    /// Have a password made for the image's default user, by cloud-init in the guest; it is shown this once
    #[arg(long)]
    password: bool,
    /// When it is started again by itself
    #[arg(long, value_enum, default_value_t = Restart::OnFailure)]
    restart: Restart,
    /// A label; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    devices: Wanted,
    /// Start it (so it is without this, too)
    #[arg(long, conflicts_with = "no_start")]
    start: bool,
    /// Do not start it
    #[arg(long)]
    no_start: bool,
    /// Print the id only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Restart {
    Never,
    OnFailure,
    Always,
}

impl From<Restart> for RestartPolicy {
    fn from(restart: Restart) -> RestartPolicy {
        match restart {
            Restart::Never => RestartPolicy::Never,
            Restart::OnFailure => RestartPolicy::OnFailure,
            Restart::Always => RestartPolicy::Always,
        }
    }
}

pub async fn run(context: &Context, args: CreateArgs) -> Result<(), CliError> {
    let quiet = args.quiet;
    let verb = if args.no_start { Verb::new("create", "created") } else { Verb::new("create and start", "created and started") };
    let create = request(args)?;
    let shown = create.name.clone().unwrap_or_else(|| "(new)".to_owned());
    let create = &create;
    change::each(
        context,
        &[shown],
        verb,
        quiet,
        |_name| async move { context.client.vms().create(create, &Options::default()).await },
    )
    .await
}

fn request(args: CreateArgs) -> Result<CreateVm, CliError> {
    let networks = match (args.no_network, args.networks.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![DEFAULT_NETWORK.into()],
        (false, false) => args.networks,
    };
    let mut cloud_init = args.given.cloud_init()?;
    if args.password {
        cloud_init.get_or_insert_default().password = Some(Password::Generate);
    }
    Ok(CreateVm {
        name: args.positional_name.or(args.name),
        project: None,
        labels: args.labels.into_iter().collect(),
        spec: VmSpec {
            host: args.host,
            vcpus: args.vcpus,
            mem_mib: args.mem,
            mem_max_mib: args.mem_max,
            kernel: args.kernel,
            image: args.image,
            disk_mib: args.disk,
            cmdline: args.cmdline,
            networks,
            restart: args.restart.into(),
            rate_limits: args.devices.rate_limits(),
            balloon_mib: args.devices.balloon_mib,
            cpu_template: args.devices.cpu_template,
            cloud_init,
            metadata: args.given.metadata()?,
            drives: args.drives,
        },
        start: !args.no_start,
    })
}
