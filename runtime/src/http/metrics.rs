//! `/metrics`: what Prometheus asks for, in its text format. Few numbers, each of which somebody would wake up for.

use super::edge::{Edge, Serving};
use axum::{extract::State, http::header, response::IntoResponse};
use std::fmt::{Display, Write};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// The server's metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server", responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(edge): State<Edge>, serving: Serving) -> impl IntoResponse {
    let mut out = String::with_capacity(16 * 1024);
    let view = serving.node.view();
    head(&mut out, "hearth_vms", "gauge", "VMs by state.");
    for (state, count) in view.vms_by_state() {
        let _ = writeln!(out, "hearth_vms{{state=\"{state}\"}} {count}");
    }
    let (vcpus, mem_mib) = serving.node.held();
    one(&mut out, "hearth_held_vcpus", "gauge", "vCPUs that running VMs hold.", vcpus);
    one(&mut out, "hearth_held_memory_bytes", "gauge", "Memory that running VMs hold.", mem_mib * 1024 * 1024);
    let journal = serving.node.journal();
    let stats = journal.stats();
    one(&mut out, "hearth_journal_commits_total", "counter", "Batches committed.", stats.commits);
    one(&mut out, "hearth_journal_syncs_total", "counter", "Syncs of the disk; each carries a group of batches.", stats.syncs);
    one(&mut out, "hearth_journal_waiting", "gauge", "Batches that wait for the disk.", stats.waiting);
    one(&mut out, "hearth_journal_disk_bytes", "gauge", "Size of the journal's file.", stats.disk_bytes);
    one(&mut out, "hearth_journal_last_sync_seconds", "gauge", "Duration of the newest sync.", stats.last_sync_us as f64 / 1e6);
    one(&mut out, "hearth_journal_failed", "gauge", "1: nothing is written any more; restart.", u8::from(stats.poisoned));
    one(&mut out, "hearth_events_total", "counter", "Events ever written.", journal.latest());
    one(&mut out, "hearth_event_subscribers", "gauge", "Open event streams.", serving.hub.subscribers());
    one(
        &mut out,
        "hearth_event_subscribers_dropped_total",
        "counter",
        "Event streams cut off for falling behind.",
        serving.hub.dropped(),
    );
    one(&mut out, "hearth_uptime_seconds", "gauge", "Since the server began.", edge.started.elapsed().as_secs());
    if let Some(rss_bytes) = resident_bytes() {
        one(&mut out, "process_resident_memory_bytes", "gauge", "Resident memory of the server.", rss_bytes);
    }
    edge.counters.write(&mut out);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out)
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn one(out: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    head(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}

/// The second field of `/proc/self/statm`, in pages (proc(5)).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}
