//! `GET /v1/vms/ID/logs`: what the serial console printed, and with `follow` what it goes on to print, over restarts, until the VM is gone.

use crate::http::{
    edge::{Edge, Serving},
    events::Watch,
    input::{Fields, Reference},
    problem::Answer,
    stream::{self, Place, live_body},
    vms::find,
};
use axum::{body::Body, extract::State, http::header, response::IntoResponse};
use bytes::Bytes;
use domain::VmId;
use futures_util::stream as streams;
use host::vmm::Console;
use std::io;
use tokio::io::AsyncReadExt;
use utoipa_axum::{router::OpenApiRouter, routes};

const BYTES_DEFAULT: u64 = 1024 * 1024;
/// The answer is held in memory whole.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;
const TYPE: &str = "text/plain; charset=utf-8";

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(logs))
}

/// The serial console's log, as it was printed.
#[utoipa::path(get, path = "/v1/vms/{id}/logs", tag = "guest",
    params(("id" = String, Path, description = "id or name"), ("bytes" = Option<u64>, Query, description = "its last bytes; 1 MiB when absent"),
        ("follow" = Option<String>, Query, pattern = "^(|true|false|1|0)$", description = "go on until the VM is gone")),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn logs(State(edge): State<Edge>, serving: Serving, Reference(id): Reference, mut fields: Fields) -> Answer {
    let bytes = fields.number("bytes", 0, BYTES_MAX)?.unwrap_or(BYTES_DEFAULT);
    let follow = fields.flag("follow")?;
    fields.end(&["bytes", "follow"])?;
    let vm = find(&serving, &id)?.record.id;
    if !follow {
        return Ok(([(header::CONTENT_TYPE, TYPE)], serving.node.console_log(vm, bytes).await?).into_response());
    }
    // Watching begins before looking, so that no change falls between.
    let watch = serving.hub.watch(vm.to_string());
    let follow = Follow { place: stream::place(&edge)?, serving, vm, watch, history: bytes, console: None };
    let body = streams::unfold(follow, |mut follow| async move { follow.next().await.map(|chunk| (chunk, follow)) });
    Ok(live_body(TYPE, Body::from_stream(body)))
}

struct Follow {
    serving: Serving,
    vm: VmId,
    watch: Watch,
    /// Of what was printed so much comes first; nothing once the first console was attached.
    history: u64,
    console: Option<Box<dyn Console>>,
    place: Place,
}

impl Follow {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut chunk = vec![0; CHUNK];
        let ending = self.place.ending.clone();
        loop {
            if let Some(console) = &mut self.console {
                let read = tokio::select! {
                    () = ending.cancelled() => return None,
                    read = console.read(&mut chunk) => read,
                };
                match read {
                    Ok(length) if length > 0 => {
                        chunk.truncate(length);
                        return Some(Ok(Bytes::from(chunk)));
                    }
                    // This run of the machine is over.
                    Ok(_) | Err(_) => self.console = None,
                }
            } else if let Ok(console) = self.serving.node.console(self.vm, self.history).await {
                self.history = 0;
                self.console = Some(console);
                continue;
            } else if self.history > 0 {
                let log = self.serving.node.console_log(self.vm, std::mem::take(&mut self.history)).await.unwrap_or_default();
                if !log.is_empty() {
                    return Some(Ok(Bytes::from(log)));
                }
            }
            self.serving.node.view().vm(self.vm)?;
            tokio::select! {
                () = ending.cancelled() => return None,
                changed = self.watch.changed() => if !changed { return None },
            }
        }
    }
}
