//! Durable commands over HTTP with 1 and with 64 callers, beside sled with fdatasync by hand, in turns on the same disk.
//!
//! A command is a PATCH of a VM's labels: one record and one event. By hand is the least that keeps the promise: one thread,
//! `apply_batch`, `flush`, `fdatasync`, no HTTP.

use super::{
    http::{Http, text},
    images,
    server::Server,
    stats::{Row, Samples},
};
use anyhow::{Result, ensure};
use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CALLERS: usize = 64;
/// As measured of a small VM: its record, and the event of its change.
const RECORD_BYTES: usize = 300;
const EVENT_BYTES: usize = 200;
/// FIGURES: p99 at most twice that by hand; at least 10,000 a second with 64 callers.
const P99_RATIO: f64 = 2.0;
const RATE: f64 = 10_000.0;

#[derive(Default)]
struct Run {
    ms: Samples,
    per_s: Samples,
}

pub async fn run() -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "simulated", &[])?;
    let mut http = Http::connect(&server).await?;
    images::simulated(&mut http, dir.path()).await?;
    let mut vms = Vec::new();
    for _ in 0..CALLERS {
        let vm = http.want("POST", "/v1/vms?wait=60", r#"{"spec":{"vcpus":1,"mem_mib":64,"image":"rootfs"}}"#).await?;
        vms.push(text(&vm, "/id")?);
    }
    let mut runs: [Run; 4] = Default::default();
    let before = server.cpu()?;
    let mut commands = 0;
    for round in 0..ROUNDS {
        let path = |name: &str| dir.path().join(format!("{name}-{round}"));
        by_hand(&path("hand-1"), 1, 1, &mut runs[0])?;
        commands += patch(&server, &vms[..1], &mut runs[1]).await?;
        by_hand(&path("hand-64"), CALLERS, CALLERS, &mut runs[2])?;
        commands += patch(&server, &vms, &mut runs[3]).await?;
    }
    let cpu = (server.cpu()? - before).as_secs_f64() * 1e6 / commands as f64;
    server.stop()?;
    let [hand, one, hands, many] = &runs;
    let ratio = one.ms.percentile(99.0) / hand.ms.percentile(99.0);
    Ok(vec![
        Row::of("sled + fdatasync by hand, one by one", "ms", &hand.ms),
        Row::of("durable command over HTTP, 1 caller", "ms", &one.ms)
            .beside("by hand", one.ms.median() / hand.ms.median())
            .target("p99 <= 2 x by hand", ratio <= P99_RATIO),
        Row::of("sled + fdatasync by hand, batches of 64", "commits/s", &hands.per_s),
        Row::of("durable commands over HTTP, 64 callers", "commands/s", &many.per_s)
            .beside("by hand in batches of 64", many.per_s.median() / hands.per_s.median())
            .target(">= 10,000/s", many.per_s.median() >= RATE),
        Row::of("the same, each", "ms", &many.ms),
        Row::one("processor time of the server a command", "us", cpu),
    ])
}

/// As many records as there are VMs that change, overwritten in turn; events only grow.
fn by_hand(path: &Path, group: usize, records: usize, run: &mut Run) -> Result<()> {
    let db = sled::Config::new().path(path).cache_capacity(64 << 20).flush_every_ms(None).open()?;
    let file = File::open(path.join("db"))?;
    let (start, mut step) = (Instant::now(), 0u64);
    while start.elapsed() < ROUND {
        let before = Instant::now();
        let mut batch = sled::Batch::default();
        for _ in 0..group {
            step += 1;
            batch.insert(format!("s/vm\0{:06}", step % records as u64).into_bytes(), vec![1; RECORD_BYTES]);
            batch.insert([b"e/", &step.to_be_bytes()[..]].concat(), vec![2; EVENT_BYTES]);
        }
        db.apply_batch(batch)?;
        db.flush()?;
        file.sync_data()?;
        run.ms.add_ms(before.elapsed());
    }
    run.per_s.add(step as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

/// One caller a VM, each with a connection of its own.
async fn patch(server: &Server, vms: &[String], run: &mut Run) -> Result<usize> {
    let mut callers = tokio::task::JoinSet::new();
    let start = Instant::now();
    for vm in vms {
        let (path, mut http) = (format!("/v1/vms/{vm}"), Http::connect(server).await?);
        callers.spawn(async move {
            let (mut took, mut step) = (Vec::new(), 0u64);
            while start.elapsed() < ROUND {
                step += 1;
                let body = format!(r#"{{"labels":{{"step":"{step}"}}}}"#);
                let before = Instant::now();
                let (status, answer) = http.call("PATCH", &path, &body).await?;
                ensure!(status == 200, "PATCH: {status} {}", String::from_utf8_lossy(&answer));
                took.push(before.elapsed().as_secs_f64() * 1e3);
            }
            Ok(took)
        });
    }
    let mut all = 0;
    while let Some(took) = callers.join_next().await {
        let took = took??;
        all += took.len();
        run.ms.extend(took);
    }
    run.per_s.add(all as f64 / start.elapsed().as_secs_f64());
    Ok(all)
}
