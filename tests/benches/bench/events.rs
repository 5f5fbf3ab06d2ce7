//! From a change of state to its subscribers: latency with 100 of them at 200 events a second, and whether 500 lose anything at 1,000, or 1,000 at 200.
//!
//! Latency is counted from the moment in which the change was on the disk, as the server's log tells it for each event: a change that is not
//! durable has not happened. Beside it stands the time since the command was sent, which has HTTP, decision and disk in it. Both ends read
//! the same machine's clock.

use super::{
    http::{Http, text},
    images, say,
    server::Server,
    stats::{Row, Samples},
    websocket::WebSocket,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::JoinSet};

/// VMs that change in turn, each by a connection of its own.
const PUBLISHERS: u32 = 16;
const SECONDS: u32 = 15;
/// After the last event was sent.
const RECEIVED_WITHIN: Duration = Duration::from_secs(20);
/// FIGURES.
const P99_MS: f64 = 5.0;

/// What one subscriber got: cursors without a gap, and when each came.
struct Received {
    first: u64,
    at_us: Vec<u64>,
}

/// When each command was sent: the generation and VM of an event tell whose it is.
type Sent = HashMap<(String, u64), u64>;

struct Measured {
    since_durable: Samples,
    since_sent: Samples,
    arrived_percent: f64,
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

pub async fn run() -> Result<Vec<Row>> {
    let quiet = measure(100, 200).await?;
    let crowd = measure(500, 1_000).await?;
    let many = measure(1_000, 200).await?;
    let met = quiet.since_durable.percentile(99.0) <= P99_MS;
    let all = crowd.arrived_percent;
    Ok(vec![
        Row::of("change on the disk to event received, 100 subscribers, 200 events/s", "ms", &quiet.since_durable)
            .target("p99 <= 5 ms", met),
        Row::of("the same from sending the command that makes it", "ms", &quiet.since_sent),
        Row::of("change on the disk to event received, 500 subscribers, 1,000 events/s", "ms", &crowd.since_durable),
        Row::of("the same from sending the command that makes it", "ms", &crowd.since_sent),
        Row::one("the same, received of what was sent", "%", all).target("100 %: no loss", all >= 100.0),
        Row::of("change on the disk to event received, 1,000 subscribers, 200 events/s", "ms", &many.since_durable),
        Row::one("the same, received of what was sent", "%", many.arrived_percent)
            .target("100 %: no loss", many.arrived_percent >= 100.0),
    ])
}

async fn measure(subscribers: u32, per_s: u32) -> Result<Measured> {
    let dir = tempfile::tempdir()?;
    let server = Server::start_traced(dir.path(), "simulated")?;
    let mut http = Http::connect(&server).await?;
    images::simulated(&mut http, dir.path()).await?;
    let mut vms = Vec::new();
    for _ in 0..PUBLISHERS {
        let vm = http.want("POST", "/v1/vms?wait=60", r#"{"spec":{"vcpus":1,"mem_mib":64,"image":"rootfs"}}"#).await?;
        vms.push(text(&vm, "/id")?);
    }
    let (end, _) = watch::channel(0u64);
    let mut readers = JoinSet::new();
    for _ in 1..subscribers {
        let socket = WebSocket::connect(&server, "/v1/events?kind=vm").await?;
        readers.spawn(read(socket, end.subscribe()));
    }
    // The last of them reads what the events say; the others only count.
    let told = tokio::spawn(tell(WebSocket::connect(&server, "/v1/events?kind=vm").await?, end.subscribe()));
    let began = (server.cpu()?, Instant::now());
    let sent = publish(&server, &vms, per_s).await?;
    let busy = (server.cpu()? - began.0).as_secs_f64() / began.1.elapsed().as_secs_f64();
    let rate = sent.len() as f64 / began.1.elapsed().as_secs_f64();
    say(&format!("   {subscribers} subscribers: {rate:.0} events/s, the server used {:.0} % of one core", busy * 100.0))?;
    ensure!(rate > f64::from(per_s) * 0.95, "the publishers did not keep up: {rate:.0}/s");
    let wanted = sent.len() as u64;
    end.send_replace(wanted);
    let order = told.await??;
    let mut all = Vec::new();
    while let Some(received) = readers.join_next().await {
        all.push(received??);
    }
    server.stop()?;
    let durable = Server::durable(dir.path())?;
    let (mut since_durable, mut since_sent, mut arrived) = (Samples::default(), Samples::default(), 0u64);
    for received in &all {
        arrived += received.at_us.len() as u64;
        for (cursor, at_us) in (received.first..).zip(&received.at_us) {
            let whose = order.get(&cursor).context("a cursor that nobody was told")?;
            let began = sent.get(whose).context("an event that nobody sent")?;
            let written = durable.get(&cursor).context("an event of which the log does not say when it was on the disk")?;
            // Signed: what comes before it is on the disk must show.
            since_durable.add((*at_us as f64 - *written as f64) / 1e3);
            since_sent.add((*at_us as f64 - *began as f64) / 1e3);
        }
    }
    let arrived_percent = arrived as f64 * 100.0 / (wanted * u64::from(subscribers - 1)) as f64;
    Ok(Measured { since_durable, since_sent, arrived_percent })
}

/// At an even pace whatever the answers take, as far as one request a VM at a time allows.
async fn publish(server: &Server, vms: &[String], per_s: u32) -> Result<Sent> {
    let start = tokio::time::Instant::now();
    let step = Duration::from_secs(1) / per_s;
    let mut publishers = JoinSet::new();
    for (lane, vm) in vms.iter().cloned().enumerate() {
        let mut http = Http::connect(server).await?;
        publishers.spawn(async move {
            let mut sent = Vec::new();
            let path = format!("/v1/vms/{vm}");
            for turn in (lane as u32..per_s * SECONDS).step_by(PUBLISHERS as usize) {
                tokio::time::sleep_until(start + step * turn).await;
                let before = now_us();
                let body = format!(r#"{{"labels":{{"turn":"{turn}"}}}}"#);
                let updated = http.want("PATCH", &path, &body).await?;
                let generation = updated["generation"].as_u64().context("no generation")?;
                sent.push(((vm.clone(), generation), before));
            }
            anyhow::Ok(sent)
        });
    }
    let mut all = Sent::new();
    while let Some(sent) = publishers.join_next().await {
        all.extend(sent??);
    }
    Ok(all)
}

/// Until as many came as were sent, which is told at the end.
async fn read(mut socket: WebSocket, mut end: watch::Receiver<u64>) -> Result<Received> {
    let mut received = Received { first: 0, at_us: Vec::new() };
    let mut last = 0;
    follow(&mut socket, &mut end, |bytes| {
        let now = now_us();
        let cursor = cursor(bytes)?;
        if received.at_us.is_empty() {
            received.first = cursor;
        } else {
            ensure!(cursor == last + 1, "{last} is followed by {cursor}");
        }
        last = cursor;
        received.at_us.push(now);
        Ok(received.at_us.len() as u64)
    })
    .await?;
    Ok(received)
}

/// Whose each cursor is.
async fn tell(mut socket: WebSocket, mut end: watch::Receiver<u64>) -> Result<Arc<HashMap<u64, (String, u64)>>> {
    let mut order = HashMap::new();
    follow(&mut socket, &mut end, |bytes| {
        let event: serde_json::Value = serde_json::from_slice(bytes)?;
        let generation = event["generation"].as_u64().context("no generation")?;
        order.insert(cursor(bytes)?, (text(&event, "/id")?, generation));
        Ok(order.len() as u64)
    })
    .await?;
    Ok(Arc::new(order))
}

async fn follow(socket: &mut WebSocket, end: &mut watch::Receiver<u64>, mut see: impl FnMut(&[u8]) -> Result<u64>) -> Result<()> {
    let mut seen = 0;
    loop {
        let wanted = *end.borrow_and_update();
        if wanted > 0 && seen >= wanted {
            return Ok(());
        }
        tokio::select! {
            next = socket.next(|bytes| { seen = see(bytes)?; Ok(()) }) => next?,
            _ = end.changed() => {}
            () = tokio::time::sleep(RECEIVED_WITHIN) => anyhow::bail!("{seen} of {wanted} events came, and no more"),
        }
    }
}

/// Without reading the rest.
fn cursor(bytes: &[u8]) -> Result<u64> {
    let rest = bytes.strip_prefix(br#"{"cursor":"#).context("an event that begins otherwise")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
