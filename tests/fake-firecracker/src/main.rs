//! The program: Firecracker's arguments as far as hearth gives them, and a fault: by `--fault`, or in a file named as the program with
//! `.fault` behind it, for who is started by a driver.

use anyhow::{Result, anyhow};
use clap::Parser;
use fake_firecracker::{document::Document, fault::Fault, machine::Machine, serve};
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "Firecracker", version = "v1.16.1", about = "A strict stand-in for Firecracker's API, for tests")]
struct Arguments {
    #[arg(long)]
    api_sock: PathBuf,
    #[arg(long, default_value = "anonymous-instance")]
    id: String,
    /// Taken, and written nothing to.
    #[arg(long)]
    log_path: Option<PathBuf>,
    #[arg(long)]
    level: Option<String>,
    #[arg(long)]
    metrics_path: Option<PathBuf>,
    /// KIND@METHOD PATH: what to do instead of answering that request.
    #[arg(long, value_parser = |text: &str| text.parse::<Fault>())]
    fault: Option<Fault>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let path = Document::find().map_err(|why| anyhow!(why))?;
    let fault = arguments.fault.map_or_else(beside, |fault| Ok(Some(fault)))?;
    let machine = Machine::new(&arguments.id, arguments.metrics_path.as_deref());
    serve::serve(&arguments.api_sock, machine, Document::read(&path)?, fault).await
}

fn beside() -> Result<Option<Fault>> {
    let mut path = std::env::current_exe()?.into_os_string();
    path.push(".fault");
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|why: String| anyhow!(why)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow!("the file with the fault can't be read: {error}")),
    }
}
