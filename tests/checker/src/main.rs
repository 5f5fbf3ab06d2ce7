//! `hearth-checker`: one look at a machine, or looks until all is well; prints what is wrong, a line each.

use anyhow::Result;
use checker::{Failures, Target};
use clap::Parser;
use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

/// Finds what hearth lost and what it left behind: looks at /proc, devices, rules, mounts, cgroups, files and the REST API.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "./data")]
    data_dir: PathBuf,
    #[arg(long, default_value = "http://127.0.0.1:18080")]
    url: String,
    /// The bridge, where VMs have a network
    #[arg(long)]
    bridge: Option<String>,
    /// What users were told
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// KEY=VALUE of the server's environment, which its children inherit
    #[arg(long)]
    environment: Option<String>,
    /// The machine was such that operations may fail
    #[arg(long)]
    failures: bool,
    /// Look again until all is well, for so many seconds at most
    #[arg(long, default_value_t = 0)]
    settle: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let token = std::fs::read_to_string(args.data_dir.join("admin.token"))?.trim().to_owned();
    let target = Target {
        data_dir: args.data_dir,
        url: args.url,
        token,
        server: None,
        environment: args.environment,
        bridge: args.bridge,
        ledger: args.ledger,
        failures: if args.failures { Failures::Allowed } else { Failures::Found },
    };
    let found = checker::settle(&target, Duration::from_secs(args.settle)).await?;
    let mut out = std::io::stdout().lock();
    for finding in &found {
        writeln!(out, "{finding}")?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
