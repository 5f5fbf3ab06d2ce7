//! Many simulated VMs on one node, each with its live actor: how fast they are made, what each costs, lists, recovery.
//!
//! HEARTH_BENCH_VMS says how many; 100,000 if not, which is what the targets are about.

use super::{
    http::{Http, text},
    images, say,
    server::Server,
    stats::{Row, Samples},
};
use anyhow::{Context, Result, ensure};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const VMS: usize = 100_000;
const CALLERS: usize = 64;
const PAGES: usize = 2_000;
/// Simulated VMs run as soon as they are made; a minute for the last of them is far too much.
const RUNNING_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the metrics.
const LOOK: Duration = Duration::from_millis(20);
/// Room for all of them, on paper.
const SUBNET: [&str; 2] = ["--subnet", "10.0.0.0/8"];
/// FIGURES.
const CREATES_PER_S: f64 = 2_000.0;
const KIB_EACH: f64 = 16.0;
const PAGE_MS: f64 = 20.0;
const RECOVERY_S: f64 = 10.0;

pub async fn run() -> Result<Vec<Row>> {
    let vms = match std::env::var("HEARTH_BENCH_VMS") {
        Ok(text) => text.parse().context("HEARTH_BENCH_VMS is no number")?,
        Err(_) => VMS,
    };
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "simulated", &SUBNET)?;
    let mut http = Http::connect(&server).await?;
    images::simulated(&mut http, dir.path()).await?;
    let idle = server.rss_kib()?;
    let (answers, took) = create(&server, vms).await?;
    let settled = until_running(&mut http, vms).await?;
    let per_s = vms as f64 / took.as_secs_f64();
    let each = (server.rss_kib()? - idle) / vms as f64;
    let pages = pages(&mut http).await?;
    let events = metric(&mut http, "hearth_events_total").await?;
    server.stop()?;
    let again = restart(dir.path(), vms, events).await?;
    let each_again = (again.server.rss_kib()? - idle) / vms as f64;
    again.server.crash()?;
    let crashed = restart(dir.path(), vms, again.events).await?;
    crashed.server.stop()?;
    say(&format!("   {vms} VMs ran {:.1} s after the last was accepted", settled.as_secs_f64()))?;
    Ok(vec![
        Row::one(format!("creates with start, {vms} simulated VMs, 64 callers"), "creates/s", per_s)
            .target(">= 2,000/s", per_s >= CREATES_PER_S),
        Row::of("the same, each until it is accepted and durable", "ms", &answers),
        Row::one("memory a running VM, all in", "KiB", each).target("<= 16 KiB", each <= KIB_EACH),
        Row::one("the same after a restart", "KiB", each_again).target("<= 16 KiB", each_again <= KIB_EACH),
        Row::of("list page of 100 at a random cursor", "ms", &pages).target("p99 <= 20 ms", pages.percentile(99.0) <= PAGE_MS),
        Row::one("start after SIGTERM, to ready", "s", again.ready_s),
        Row::one("the same, until every VM is adopted", "s", again.adopted_s).target("<= 10 s", again.adopted_s <= RECOVERY_S),
        Row::one("start after kill -9, to ready", "s", crashed.ready_s),
        Row::one("the same, until every VM is adopted", "s", crashed.adopted_s)
            .target("<= 10 s", crashed.adopted_s <= RECOVERY_S),
    ])
}

struct Restarted {
    server: Server,
    ready_s: f64,
    /// Each VM's actor has asked the host and said so in an event.
    adopted_s: f64,
    /// As of then.
    events: usize,
}

async fn restart(dir: &Path, vms: usize, events: usize) -> Result<Restarted> {
    let start = Instant::now();
    let server = Server::start(dir, "simulated", &SUBNET)?;
    let mut http = Http::connect(&server).await?;
    loop {
        let now = metric(&mut http, "hearth_events_total").await?;
        if now >= events + vms {
            let (ready_s, adopted_s) = (server.start_took.as_secs_f64(), start.elapsed().as_secs_f64());
            until_running(&mut http, vms).await?;
            return Ok(Restarted { server, ready_s, adopted_s, events: now });
        }
        ensure!(start.elapsed() < RUNNING_WITHIN, "{} of {vms} were adopted", now - events);
        tokio::time::sleep(LOOK).await;
    }
}

async fn metric(http: &mut Http, name: &str) -> Result<usize> {
    let (_, body) = http.call("GET", "/metrics", "").await?;
    let text = String::from_utf8_lossy(&body);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}

async fn create(server: &Server, vms: usize) -> Result<(Samples, Duration)> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    let start = Instant::now();
    for _ in 0..CALLERS {
        let (mut http, next) = (Http::connect(server).await?, Arc::clone(&next));
        callers.spawn(async move {
            let mut took = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < vms {
                let body = r#"{"spec":{"vcpus":1,"mem_mib":64,"image":"rootfs"},"start":true}"#;
                let before = Instant::now();
                let (status, answer) = http.call("POST", "/v1/vms", body).await?;
                ensure!(status == 202, "POST: {status} {}", String::from_utf8_lossy(&answer));
                took.push(before.elapsed().as_secs_f64() * 1e3);
            }
            Ok(took)
        });
    }
    let mut samples = Samples::default();
    while let Some(took) = callers.join_next().await {
        samples.extend(took??);
    }
    Ok((samples, start.elapsed()))
}

/// By the metric: a list of so many would be work of its own.
async fn until_running(http: &mut Http, vms: usize) -> Result<Duration> {
    let start = Instant::now();
    let wanted = format!("hearth_vms{{state=\"running\"}} {vms}");
    loop {
        let (_, body) = http.call("GET", "/metrics", "").await?;
        let text = String::from_utf8_lossy(&body);
        if text.lines().any(|line| line == wanted) {
            return Ok(start.elapsed());
        }
        let states: Vec<&str> = text.lines().filter(|line| line.starts_with("hearth_vms{")).collect();
        ensure!(start.elapsed() < RUNNING_WITHIN, "not all run: {states:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Every page's cursor first, in order; then pages in no order.
async fn pages(http: &mut Http) -> Result<Samples> {
    let mut cursors = Vec::new();
    let mut path = "/v1/vms?limit=100".to_owned();
    loop {
        let page = http.want("GET", &path, "").await?;
        let Ok(cursor) = text(&page, "/next_cursor") else { break };
        path = format!("/v1/vms?limit=100&cursor={cursor}");
        cursors.push(path.clone());
    }
    ensure!(!cursors.is_empty(), "one page holds all");
    let mut samples = Samples::default();
    for step in 0..PAGES {
        // A stride that is prime to most counts visits pages far apart.
        let path = &cursors[step * 7919 % cursors.len()];
        let before = Instant::now();
        let (status, _) = http.call("GET", path, "").await?;
        ensure!(status == 200, "GET {path}: {status}");
        samples.add_ms(before.elapsed());
    }
    Ok(samples)
}
