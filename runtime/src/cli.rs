//! The command line: `hearth <noun> <verb>`, a reader of the REST API like any other.
//!
//! Here are the words that people type, what they see, and the exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted, and
//! the guest's own for `vm exec` and `vm shell`. One file a noun. The calls themselves are `api::client`; the server is `hearth up`.

mod args;
mod attach;
mod backup;
mod change;
mod completion;
mod context;
mod doctor;
mod error;
mod event;
mod facts;
mod filter;
mod fsck;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod host;
mod image;
mod node;
mod operation;
mod output;
mod progress;
mod style;
mod table;
mod tty;
mod units;
mod version;
mod vm;
mod webhook;

use args::Global;
use clap::{CommandFactory, Parser, Subcommand};
use context::Context;
use error::CliError;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  hearth vm create demo --image busybox     make a VM and start it
  hearth vm ls                              what there is
  hearth vm shell demo                      a terminal in it (Ctrl-] leaves)
  hearth vm exec demo -- uname -a           run a program in it
  hearth event -f                           watch what happens

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted;
`vm exec` and `vm shell` end with the guest's own.";

/// Run microVMs: server, node and command line in one.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server on this machine
    Up(crate::up::UpArgs),
    /// Stop every guest, then the server; a signal to the server leaves guests running
    Down,
    /// VMs: make, run, look inside
    #[command(visible_alias = "vms", subcommand)]
    Vm(vm::VmCommand),
    /// Images: kernels and root file systems
    #[command(visible_alias = "images", subcommand)]
    Image(image::ImageCommand),
    /// Hosts: the machines that run VMs
    #[command(visible_alias = "hosts", subcommand)]
    Host(host::HostCommand),
    /// Operations: what takes longer than a request
    #[command(visible_alias = "operations", alias = "op", subcommand)]
    Operation(operation::OperationCommand),
    /// Events: what happened, and what happens now
    #[command(visible_alias = "events")]
    Event(event::EventArgs),
    /// Webhooks: receivers outside that are sent events
    #[command(visible_alias = "webhooks", subcommand)]
    Webhook(webhook::WebhookCommand),
    /// The server itself
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Save all records and events of the server into a file, while it runs
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::BackupArgs),
    /// Make a new data directory out of a backup
    #[command(after_help = backup::RESTORE_EXAMPLES)]
    Restore(backup::RestoreArgs),
    /// Check the journal of a data directory that no server runs on
    #[command(after_help = fsck::EXAMPLES)]
    Fsck(fsck::FsckArgs),
    /// Tell what this machine can do, and what to do about the rest
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    #[command(after_help = completion::EXAMPLES)]
    Completion(completion::CompletionArgs),
    /// Print the version
    Version,
}

/// Parses the arguments of the process and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads to its end is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    let output = cli.global.output;
    if let Command::Up(args) = cli.command {
        return crate::up::run(args, cli.global.data_dir);
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.report(output)),
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    match &cli.command {
        Command::Completion(args) => return completion::run(args, &mut Cli::command()),
        Command::Version => return version::run(cli.global.output),
        Command::Restore(args) => return backup::restore(&cli.global, args),
        Command::Fsck(args) => return fsck::run(&cli.global, args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "cannot start", source })?;
    let ended = runtime.block_on(async {
        if let Command::Doctor(args) = cli.command {
            return doctor::run(&cli.global, args).await;
        }
        let context = Context::new(cli.global)?;
        match cli.command {
            Command::Vm(command) => vm::run(&context, command).await,
            Command::Image(command) => image::run(&context, command).await,
            Command::Host(command) => host::run(&context, command).await,
            Command::Operation(command) => operation::run(&context, command).await,
            Command::Event(args) => event::run(&context, args).await,
            Command::Webhook(command) => webhook::run(&context, command).await,
            Command::Node(command) => node::run(&context, command).await,
            Command::Down => node::down(&context).await,
            Command::Backup(args) => backup::run(&context, args).await,
            // These ended above.
            Command::Up(_)
            | Command::Doctor(_)
            | Command::Completion(_)
            | Command::Version
            | Command::Restore(_)
            | Command::Fsck(_) => Ok(()),
        }
    });
    // A goodbye of a stream that is on its way gets a moment; nothing else may hold the process.
    runtime.shutdown_timeout(GOODBYE);
    ended
}

/// Long enough for a close frame on a network that works.
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(200);
