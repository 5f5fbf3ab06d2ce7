//! The listening end, and its own end, which has a deadline.

use super::socket::Sockets;
use crate::http::{Edge, Patience, router};
use api::v1::HostMetrics;
use host::facts::HostUsage;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

pub struct Server {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

pub fn start(listener: TcpListener, edge: &Edge) -> Server {
    let stop = CancellationToken::new();
    let service = router(edge).into_make_service_with_connect_info::<Patience>();
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(Sockets::of(listener), service).with_graceful_shutdown(stopped).await {
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
