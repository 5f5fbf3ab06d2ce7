//! The program `nft`: a document in, a verdict out. Owns the deadline and the reading of its complaints.

use crate::{doctor::programs, net::NetError};
use nftables::schema::Nftables;
use std::{io, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// 5 ms measured; a machine with ten thousands of foreign rules needs seconds, because `nft` reads them first.
const NFT_DEADLINE: Duration = Duration::from_secs(15);
/// How much of what `nft` complains about goes into an error.
const COMPLAINT_MAX: usize = 400;

/// Hands a document to `nft` on its standard input. The crate's own helper has no deadline and loses what `nft` complains about.
pub(super) async fn run(document: &Nftables<'_>) -> Result<(), NetError> {
    let failed = |detail: String| NetError::Rules { detail };
    let payload = serde_json::to_vec(document).map_err(|error| failed(error.to_string()))?;
    let program = programs::find("nft").ok_or_else(|| failed("nft is not installed: install the package nftables".to_owned()))?;
    let mut command = Command::new(program);
    command.args(["-j", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let work = async {
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(&payload).await {
                // It ended before it had read all: its exit code and its complaint say more than the broken pipe.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait_with_output().await
    };
    match timeout(NFT_DEADLINE, work).await {
        Err(_) => Err(failed(format!("nft did not end within {} s", NFT_DEADLINE.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("nft can't be run: {error}"))),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(refused(&String::from_utf8_lossy(&output.stderr))),
    }
}

fn refused(complaint: &str) -> NetError {
    let detail: String = complaint.trim().chars().take(COMPLAINT_MAX).collect();
    if detail.contains("Operation not permitted") {
        return NetError::NotPermitted { detail: format!("nft: {detail}: run as root or with CAP_NET_ADMIN") };
    }
    NetError::Rules { detail }
}
