//! `hearth vm …`: the verbs, and those that are one call. The larger ones are in `vm/`.

mod connect;
mod create;
mod devices;
mod drives;
mod exec;
mod forward;
mod given;
mod logs;
mod metrics;
mod outside;
mod power;
mod update;
mod view;

use super::attach;
use super::context::Context;
use super::error::CliError;
use super::filter::ListArgs;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// List VMs
    #[command(visible_alias = "list", after_help = view::EXAMPLES)]
    Ls(ListArgs),
    /// Show VMs in full
    #[command(visible_alias = "show")]
    Get(Names),
    /// Make a VM and start it (--no-start: only make it)
    #[command(visible_alias = "run", after_help = create::EXAMPLES)]
    Create(create::CreateArgs),
    /// Change a VM's name, labels or size
    #[command(after_help = update::EXAMPLES)]
    Update(update::UpdateArgs),
    /// Start VMs
    Start(Names),
    /// Stop VMs: ask the guest, then end it
    Stop(power::StopArgs),
    /// Hold VMs where they are
    Pause(Names),
    /// Let paused VMs go on
    Resume(Names),
    /// Reboot VMs
    #[command(visible_alias = "restart")]
    Reboot(power::StopArgs),
    /// Delete VMs and their disks
    #[command(visible_aliases = ["delete", "remove"])]
    Rm(power::RemoveArgs),
    /// Open a shell on a terminal in the guest; Ctrl-] leaves
    #[command(after_help = attach::SHELL_HELP)]
    Shell {
        /// Name or id
        vm: String,
    },
    /// Run a program in the guest
    #[command(after_help = exec::EXAMPLES)]
    Exec(exec::ExecArgs),
    /// Forward ports of this machine's loopback to ports in the guest, until Ctrl-C
    #[command(after_help = forward::EXAMPLES)]
    Forward(forward::ForwardArgs),
    /// Join standard input and output to a port in the guest; for ssh's ProxyCommand
    #[command(after_help = connect::EXAMPLES)]
    Connect(connect::ConnectArgs),
    /// Print what the guest wrote to its serial console
    Logs(logs::LogsArgs),
    /// Attach to the serial console; Ctrl-] leaves
    #[command(after_help = attach::CONSOLE_HELP)]
    Console {
        /// Name or id
        vm: String,
    },
    /// Show what VMs use: one sample, or live with -f
    #[command(visible_alias = "top", after_help = metrics::EXAMPLES)]
    Metrics(metrics::MetricsArgs),
}

#[derive(Debug, clap::Args)]
pub struct Names {
    /// Names or ids
    #[arg(required = true, value_name = "VM")]
    pub vms: Vec<String>,
}

pub async fn run(context: &Context, command: VmCommand) -> Result<(), CliError> {
    match command {
        VmCommand::Ls(args) => view::list(context, args).await,
        VmCommand::Get(names) => view::show(context, &names.vms).await,
        VmCommand::Create(args) => create::run(context, args).await,
        VmCommand::Update(args) => update::run(context, args).await,
        VmCommand::Start(names) => power::start(context, &names.vms).await,
        VmCommand::Stop(args) => power::stop(context, &args).await,
        VmCommand::Pause(names) => power::pause(context, &names.vms).await,
        VmCommand::Resume(names) => power::resume(context, &names.vms).await,
        VmCommand::Reboot(args) => power::reboot(context, &args).await,
        VmCommand::Rm(args) => power::remove(context, &args).await,
        VmCommand::Shell { vm } => attach::shell(context, &vm).await,
        VmCommand::Exec(args) => exec::run(context, args).await,
        VmCommand::Forward(args) => forward::run(context, args).await,
        VmCommand::Connect(args) => connect::run(context, args).await,
        VmCommand::Logs(args) => logs::run(context, &args).await,
        VmCommand::Console { vm } => attach::console(context, &vm).await,
        VmCommand::Metrics(args) => metrics::run(context, &args).await,
    }
}
