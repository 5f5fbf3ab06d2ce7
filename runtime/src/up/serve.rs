//! The listening end: sockets with sane options, and an end that has a deadline.

use crate::http::{Edge, router};
use api::v1::HostMetrics;
use axum::serve::ListenerExt;
use host::facts::HostUsage;
use nix::sys::socket::{setsockopt, sockopt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What was sent and is not taken by the peer's machine within this time ends the connection: cut cables, frozen readers.
const UNTAKEN: Duration = Duration::from_secs(60);

pub struct Server {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

pub fn start(listener: TcpListener, edge: &Edge) -> Server {
    let stop = CancellationToken::new();
    let service = router(edge);
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        let listener = listener.tap_io(tune);
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the server ended");
        }
    });
    Server { task, stop }
}

impl Server {
    /// Takes no new connections, lets what is being answered end, and after `within` cuts off the rest.
    pub async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        if timeout(within, &mut self.task).await.is_err() {
            tracing::warn!("some requests were cut off");
            self.task.abort();
        }
    }
}

/// Small frames must leave at once; a failure costs only speed.
fn tune(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
    let untaken_ms = u32::try_from(UNTAKEN.as_millis()).unwrap_or(u32::MAX);
    let set =
        setsockopt(stream, sockopt::KeepAlive, &true).and_then(|()| setsockopt(stream, sockopt::TcpUserTimeout, &untaken_ms));
    if let Err(error) = set {
        tracing::debug!(%error, "the connection's limits can't be set");
    }
}

pub fn host_metrics(usage: HostUsage) -> HostMetrics {
    HostMetrics {
        time_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
        cpu_percent: usage.cpu_percent,
        mem_total_bytes: usage.mem_total_bytes,
        mem_used_bytes: usage.mem_used_bytes,
        disk_total_bytes: usage.disk_total_bytes,
        disk_used_bytes: usage.disk_used_bytes,
        load1: usage.load[0],
        load5: usage.load[1],
        load15: usage.load[2],
    }
}
