//! What the platform adds to a boot: from the API call to the agent's hello, beside the same VMM started by hand, in turns.

pub mod firecracker;
pub mod qemu;

use super::http::{Http, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    process::Child,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// An emulated guest on a busy machine.
const HELLO_WITHIN: Duration = Duration::from_secs(120);
/// FIGURES.
const RATIO: f64 = 1.10;
const OWN_MS: f64 = 25.0;

/// HEARTH_BENCH_TURNS, for machines on which a boot takes long.
fn turns() -> Result<usize> {
    std::env::var("HEARTH_BENCH_TURNS").map_or(Ok(12), |text| text.parse().context("HEARTH_BENCH_TURNS is no number"))
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// How long the call took, how much of it was neither QEMU's nor the guest's, and the process.
async fn start(http: &mut Http, vm: &str) -> Result<(Duration, f64, u32)> {
    let called_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
    let before = Instant::now();
    let started = http.want("POST", &format!("/v1/vms/{vm}/start?wait=120"), "{}").await?;
    let took = before.elapsed();
    ensure!(text(&started, "/status/state")? == "running", "{started}");
    let pid = started.pointer("/status/vmm/pid").and_then(Value::as_u64).context("no pid")?;
    let operations = http.want("GET", "/v1/operations?limit=100", "").await?;
    let newest = operations["items"].as_array().context("no operations")?.iter().find(|operation| {
        operation["kind"] == "vm-start"
            && operation["status"] == "succeeded"
            && stamp(operation, "/created_at") >= called_at.floor()
    });
    let newest = newest.with_context(|| format!("no operation of this start: {operations}"))?;
    let boot = newest["steps"].as_array().context("no steps")?.iter().find(|step| step["name"] == "boot").context("no boot")?;
    let before_boot = stamp(boot, "/started_at") - called_at;
    let after_hello = called_at + ms(took) - stamp(newest, "/updated_at");
    Ok((took, before_boot + after_hello, pid.try_into()?))
}

/// Milliseconds since 1970; the API's times have no more.
fn stamp(value: &Value, pointer: &str) -> f64 {
    let parsed = value.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    parsed.map_or(f64::NAN, |at| at.as_millisecond() as f64)
}

/// No process outlives its turn.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
