//! `GET /v1/vms/ID/logs`: what the serial console printed, and with `follow` what it goes on to print, over restarts, until the VM is gone.

use crate::http::{
    edge::{Edge, Serving},
    events::Watch,
    input::{Fields, Reference},
    problem::Answer,
    stream::{self, Place, live_body},
    vms::find,
};
use actors::CommandError;
use axum::{body::Body, extract::State, http::header, response::IntoResponse};
use bytes::Bytes;
use domain::VmId;
use futures_util::stream as streams;
use host::vmm::{Console, lines::LinesWanted};
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
    params(("id" = String, Path, description = "id or name"), ("bytes" = Option<u64>, Query, description = "its last bytes; when absent 1 MiB, and with `since` all that is kept"),
        ("follow" = Option<String>, Query, pattern = "^(|true|false|1|0)$", description = "go on until the VM is gone"),
        ("timestamps" = Option<String>, Query, pattern = "^(|true|false|1|0)$", description = "before each line stands, in RFC 3339, when hearth first saw it; behind < where it was printed before that; - where nobody knows"),
        ("since" = Option<String>, Query, description = "only what was first seen since then: a time in RFC 3339, or so long ago, as 90s, 10m, 2h or 7d")),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn logs(State(edge): State<Edge>, serving: Serving, Reference(id): Reference, mut fields: Fields) -> Answer {
    let bytes = fields.number("bytes", 0, BYTES_MAX)?;
    let follow = fields.flag("follow")?;
    let (with_times, since_ms) = (fields.flag("timestamps")?, fields.moment("since")?);
    fields.end(&["bytes", "follow", "timestamps", "since"])?;
    // Who names a time wants all since then.
    let bytes = bytes.unwrap_or(if since_ms.is_some() { BYTES_MAX } else { BYTES_DEFAULT });
    let wanted = LinesWanted { bytes, since_ms, with_times };
    let vm = find(&serving, &id)?.record.id;
    if !follow {
        return Ok(([(header::CONTENT_TYPE, TYPE)], log(&serving, vm, &wanted).await?).into_response());
    }
    // Watching begins before looking, so that no change falls between.
    let watch = serving.hub.watch(vm.to_string());
    let follow = Follow { place: stream::place(&edge)?, serving, vm, watch, wanted, begun: false, console: None };
    let body = streams::unfold(follow, |mut follow| async move { follow.next().await.map(|chunk| (chunk, follow)) });
    Ok(live_body(TYPE, Body::from_stream(body)))
}

/// As it was printed, unless something else is wanted.
async fn log(serving: &Serving, vm: VmId, wanted: &LinesWanted) -> Result<Vec<u8>, CommandError> {
    if *wanted == LinesWanted::plain(wanted.bytes) {
        serving.node.console_log(vm, wanted.bytes).await
    } else {
        serving.node.lines(vm, wanted).await
    }
}

async fn console(serving: &Serving, vm: VmId, wanted: &LinesWanted) -> Result<Box<dyn Console>, CommandError> {
    if *wanted == LinesWanted::plain(wanted.bytes) {
        serving.node.console(vm, wanted.bytes).await
    } else {
        serving.node.follow_lines(vm, wanted).await
    }
}

struct Follow {
    serving: Serving,
    vm: VmId,
    watch: Watch,
    wanted: LinesWanted,
    /// What was printed before came already: with the first console that was attached, or without one.
    begun: bool,
    console: Option<Box<dyn Console>>,
    place: Place,
}

impl Follow {
    fn still_wanted(&self) -> LinesWanted {
        let LinesWanted { with_times, .. } = self.wanted;
        if self.begun { LinesWanted { bytes: 0, since_ms: None, with_times } } else { self.wanted }
    }

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
            } else if let Ok(console) = console(&self.serving, self.vm, &self.still_wanted()).await {
                self.begun = true;
                self.console = Some(console);
                continue;
            } else if !self.begun {
                self.begun = true;
                let log = log(&self.serving, self.vm, &self.wanted).await.unwrap_or_default();
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
