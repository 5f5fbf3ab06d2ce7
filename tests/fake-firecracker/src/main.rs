//! The program: Firecracker's arguments as far as hearth gives them, and `--fault`.

use anyhow::{Result, anyhow};
use clap::Parser;
use fake_firecracker::{document::Document, fault::Fault, serve};
use std::path::PathBuf;

#[derive(Parser)]
#[command(version, about = "A strict stand-in for Firecracker's API, for tests")]
struct Arguments {
    #[arg(long)]
    api_sock: PathBuf,
    #[arg(long, default_value = "anonymous-instance")]
    id: String,
    /// KIND@METHOD PATH: what to do instead of answering that request.
    #[arg(long, value_parser = |text: &str| text.parse::<Fault>())]
    fault: Option<Fault>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let path = Document::find().map_err(|why| anyhow!(why))?;
    serve::serve(&arguments.api_sock, &arguments.id, Document::read(&path)?, arguments.fault).await
}
