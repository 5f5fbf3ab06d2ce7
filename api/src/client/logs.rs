//! The serial log of a VM, as it was written, optionally on and on.

use super::error::{ClientError, root_cause};
use super::http::{Client, shown};
use bytes::Bytes;
use reqwest::Response;

pub struct Logs {
    response: Response,
    url: String,
}

/// Which part of a log, and how.
#[derive(Debug, Clone, Default)]
pub struct LogsQuery {
    /// On and on, until the VM is gone.
    pub follow: bool,
    /// Before each line, when hearth first saw it.
    pub timestamps: bool,
    /// A time in RFC 3339, or so long ago, as `10m`.
    pub since: Option<String>,
}

impl Client {
    /// With `follow` the stream goes on until the VM is gone.
    pub async fn logs(&self, vm: &str, follow: bool) -> Result<Logs, ClientError> {
        self.logs_of(vm, &LogsQuery { follow, ..LogsQuery::default() }).await
    }

    pub async fn logs_of(&self, vm: &str, query: &LogsQuery) -> Result<Logs, ClientError> {
        let mut url = self.url(&["v1", "vms", vm, "logs"])?;
        if query.follow {
            url.query_pairs_mut().append_pair("follow", "true");
        }
        if query.timestamps {
            url.query_pairs_mut().append_pair("timestamps", "true");
        }
        if let Some(since) = &query.since {
            url.query_pairs_mut().append_pair("since", since);
        }
        let response = self.get_stream(url).await?;
        Ok(Logs { url: shown(response.url()), response })
    }
}

impl Logs {
    /// `None` at the end. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response.chunk().await.map_err(|error| ClientError::Lost { url: self.url.clone(), reason: root_cause(&error) })
    }
}
