//! `hearth doctor`: what this machine can do. Looks at the machine itself, not at a server.

use super::args::{DEFAULT_DATA_DIR, Global, Output};
use super::error::{CliError, FAILED};
use super::output;
use super::style::{Colour, harmless, paint, wants_colour};
use crate::assemble::firecracker;
use clap::Args;
use host::doctor::{Check, GuestBoot, Options, Report, Status};
use std::{ops::Range, path::PathBuf};

pub const EXAMPLES: &str = "\
Fails (exit code 1) if something that should work does not.

Examples:
  sudo hearth doctor
  hearth doctor -o json | jq '.checks[] | select(.status != \"ok\")'";

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The Firecracker binary [default: HEARTH_FIRECRACKER, else on PATH]
    #[arg(long, value_name = "FILE")]
    firecracker: Option<PathBuf>,
    /// Its jailer [default: HEARTH_JAILER, else beside Firecracker, else on PATH]
    #[arg(long, value_name = "FILE")]
    jailer: Option<PathBuf>,
    /// The uids that VMs get, jailed or on QEMU [default: 1900000000-1900065535]
    #[arg(long, value_name = "FIRST-LAST", value_parser = crate::up::uids)]
    jailer_uids: Option<Range<u32>>,
}

pub async fn run(global: &Global, args: DoctorArgs) -> Result<(), CliError> {
    let data_dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    // Whether a guest boots is tried by the server's driver, which has a kernel to try; it keeps what it found.
    let guest_boot = match crate::assemble::remembered_kvm(&data_dir) {
        None => GuestBoot::NotTried,
        Some(verdict) if verdict.works => GuestBoot::Boots { detail: verdict.reason },
        Some(verdict) => GuestBoot::Fails { detail: verdict.reason },
    };
    let firecracker_boot = match firecracker::remembered(&data_dir) {
        None => GuestBoot::NotTried,
        Some(verdict) if verdict.works => GuestBoot::Boots { detail: verdict.reason },
        Some(verdict) => GuestBoot::Fails { detail: verdict.reason },
    };
    let options = Options {
        data_dir,
        firecracker: args.firecracker,
        jailer: args.jailer,
        jailer_uids: args.jailer_uids.unwrap_or(firecracker::JAILER_UIDS),
        guest_boot,
        firecracker_boot,
    };
    let report = host::doctor::run(options).await;
    match global.output {
        Output::Json => output::json(&report)?,
        Output::Table => output::text(&render(&report, wants_colour(std::io::stdout())))?,
    }
    match report.checks.iter().any(|check| check.status == Status::Failed) {
        true => Err(CliError::Told(FAILED)),
        false => Ok(()),
    }
}

fn render(report: &Report, colour: bool) -> String {
    let widest = report.checks.iter().map(|check| check.title.chars().count()).max().unwrap_or(0);
    report.checks.iter().map(|check| line(check, widest, colour)).collect()
}

fn line(check: &Check, widest: usize, colour: bool) -> String {
    let look = match check.status {
        Status::Ok => Colour::Green,
        Status::Warn => Colour::Yellow,
        Status::Missing => Colour::Dim,
        Status::Failed => Colour::Red,
    };
    let status = paint(colour, look, &format!("{:<7}", check.status.name()));
    let remedy = check.remedy.as_ref().map_or(String::new(), |remedy| format!(" -> {}", harmless(remedy)));
    format!("{status}  {:<widest$}  {}{remedy}\n", check.title, harmless(&check.detail))
}
