//! `GET /v1/vms/ID/metrics/vmm`: what is known of a VM from outside its guest, whether the guest answers or not; and the words of it.

use crate::http::{
    edge::{Edge, Serving},
    idempotency::now_ms,
    input::{Fields, Reference},
    problem::Answer,
    vms,
};
use api::v1;
use axum::Json;
use host::vmm::outside::{DriveUse, InterfaceUse, Outside, ProcessUse, Safety};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(vmm))
}

/// What the VMM and the host's kernel count of a VM now.
#[utoipa::path(get, path = "/v1/vms/{id}/metrics/vmm", tag = "guest", params(("id" = String, Path, description = "id or name")),
    responses((status = 200, body = v1::VmmMetrics)))]
async fn vmm(serving: Serving, Reference(id): Reference, fields: Fields) -> Answer<Json<v1::VmmMetrics>> {
    fields.end(&[])?;
    let vm = vms::find(&serving, &id)?.record.id;
    Ok(Json(told(serving.node.outside(vm).await?)))
}

/// In the API's words, as of now.
pub fn told(outside: Outside) -> v1::VmmMetrics {
    v1::VmmMetrics {
        time_ms: now_ms(),
        since_ms: outside.since_ms,
        process: outside.process.map(process),
        drives: outside.drives.into_iter().map(drive).collect(),
        interfaces: outside.interfaces.into_iter().map(interface).collect(),
        balloon_bytes: outside.balloon_bytes,
        safety: outside.safety.map(safety),
        missing: outside.missing,
    }
}

fn process(process: ProcessUse) -> v1::VmmProcess {
    let ProcessUse { rss_bytes, cpu_ms, threads, oom_kills } = process;
    v1::VmmProcess { rss_bytes, cpu_ms_total: cpu_ms, threads, oom_kills_total: oom_kills }
}

fn drive(drive: DriveUse) -> v1::VmmDrive {
    v1::VmmDrive {
        name: drive.name,
        read_bytes_total: drive.read_bytes,
        written_bytes_total: drive.written_bytes,
        reads_total: drive.reads,
        writes_total: drive.writes,
        failed_total: drive.failed,
        throttled_total: drive.throttled,
    }
}

fn interface(interface: InterfaceUse) -> v1::VmmInterface {
    v1::VmmInterface {
        name: interface.name,
        received_bytes_total: interface.received_bytes,
        received_packets_total: interface.received_packets,
        sent_bytes_total: interface.sent_bytes,
        sent_packets_total: interface.sent_packets,
        received_dropped_total: interface.dropped.map(|dropped| dropped.received),
        sent_dropped_total: interface.dropped.map(|dropped| dropped.sent),
        throttled_total: interface.throttled,
        refused_total: interface.refused,
    }
}

fn safety(safety: Safety) -> v1::VmmSafety {
    v1::VmmSafety {
        seccomp_faults_total: safety.seccomp_faults,
        api_failures_total: safety.api_failures,
        exits_io_in_total: safety.exits.io_in,
        exits_io_out_total: safety.exits.io_out,
        exits_mmio_read_total: safety.exits.mmio_read,
        exits_mmio_write_total: safety.exits.mmio_write,
        vcpu_failures_total: safety.exits.failures,
    }
}
