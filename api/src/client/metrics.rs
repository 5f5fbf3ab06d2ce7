//! Live metrics: one sample a second while somebody reads.

use super::error::ClientError;
use super::http::Client;
use super::socket::{Frame, Socket};
use crate::v1::{HostMetrics, VmMetrics};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

pub struct MetricsStream<T> {
    socket: Socket,
    sample: PhantomData<fn() -> T>,
}

impl Client {
    pub async fn vm_metrics(&self, vm: &str) -> Result<MetricsStream<VmMetrics>, ClientError> {
        MetricsStream::open(self, "vms", vm).await
    }

    pub async fn host_metrics(&self, host: &str) -> Result<MetricsStream<HostMetrics>, ClientError> {
        MetricsStream::open(self, "hosts", host).await
    }
}

impl<T: DeserializeOwned> MetricsStream<T> {
    async fn open(client: &Client, kind: &str, id: &str) -> Result<MetricsStream<T>, ClientError> {
        Ok(MetricsStream { socket: Socket::open(client, client.url(&["v1", kind, id, "metrics"])?).await?, sample: PhantomData })
    }

    /// `None` when the server ended the stream in order. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            match self.socket.next().await? {
                None => return Ok(None),
                Some(Frame::Binary(_)) => {}
                Some(Frame::Text(text)) => {
                    return serde_json::from_str(&text).map(Some).map_err(|error| self.socket.unexpected(error.to_string()));
                }
            }
        }
    }
}
