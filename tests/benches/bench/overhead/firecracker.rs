//! Firecracker, where HEARTH_FIRECRACKER and HEARTH_JAILER name it and its guests boot: beside hearth, the same by hand (see `hand`), alone, jailed, and
//! jailed within limits. By hand there is neither a log nor metrics. Also what hearth and the process take of memory beside the guest's.

mod hand;

use super::{
    super::{
        http::{Http, text},
        images, say,
        server::Server,
        stats::{Row, Samples},
    },
    OWN_MS, RATIO, ms, start, turns,
};
use anyhow::{Result, ensure};
use hand::{Hand, Way};
use serde_json::json;
use std::path::{Path, PathBuf};

const MEM_MIB: u32 = 192;
/// At once, for what one costs the server.
const MANY: usize = 8;
/// FIGURES: hearth's own memory for an idle VM.
const OWN_KIB: f64 = 256.0;

pub async fn run() -> Result<Vec<Row>> {
    let Some(program) = std::env::var_os("HEARTH_FIRECRACKER").map(PathBuf::from) else {
        say("   SKIPPED: HEARTH_FIRECRACKER names no Firecracker")?;
        return Ok(Vec::new());
    };
    let dir = tempfile::tempdir()?;
    let server = Server::start_marked(dir.path(), "firecracker", &["--no-network"])?;
    let mut http = Http::connect(&server).await?;
    let kernel = images::busybox(&mut http).await?;
    let vm = create(&mut http, "bench").await?;
    let folder = dir.path().join("data/vms").join(&vm);
    let (mut ours, mut by_hand, mut own) = (Samples::default(), Samples::default(), Samples::default());
    let (mut jailed, mut bare) = (Samples::default(), Samples::default());
    let (mut jailed_by_hand, mut limited_by_hand, mut held_back) = (Samples::default(), Samples::default(), Samples::default());
    let mut hand = None;
    for turn in 0..=turns()? {
        let (took, own_ms, pid) = start(&mut http, &vm).await?;
        let hand = match &mut hand {
            Some(hand) => hand,
            none => none.insert(Hand::of(&program, pid, &folder, &dir.path().join("by-hand"))?),
        };
        let kib = beside_guest_kib(pid)?;
        http.want("POST", "/v1/vms/bench/stop?wait=60", r#"{"force":true}"#).await?;
        let alone = hand.boot(Way::Bare, &folder).await?;
        let in_jail = hand.boot(Way::Jailed, &folder).await?;
        let in_limits = hand.boot(Way::Limited, &folder).await?;
        // The first of each fills the caches.
        if turn > 0 {
            ours.add_ms(took);
            own.add(own_ms);
            by_hand.add_ms(alone.took);
            jailed_by_hand.add_ms(in_jail.took);
            limited_by_hand.add_ms(in_limits.took);
            held_back.add_ms(in_limits.held_back);
            jailed.add(kib);
            bare.add(alone.kib);
        }
        let by_hand = [&alone, &in_jail, &in_limits].map(|boot| format!("{:.0}", ms(boot.took))).join(", ");
        say(&format!(
            "   {turn}: {:.0} ms, of these own {own_ms:.0} ms; by hand alone, jailed, within limits: {by_hand}; held back {:.0} ms",
            ms(took),
            ms(in_limits.held_back)
        ))?;
    }
    let steps = steps(dir.path())?;
    let each_kib = many(&mut http, &server).await?;
    server.stop()?;
    let ratio = ours.median() / by_hand.median();
    let mut rows = vec![
        Row::of(format!("Firecracker by hand to the agent's hello ({kernel})"), "ms", &by_hand),
        Row::of("the same, jailed", "ms", &jailed_by_hand).beside("by hand", jailed_by_hand.median() / by_hand.median()),
        Row::of("the same, jailed and within hearth's limits", "ms", &limited_by_hand)
            .beside("by hand", limited_by_hand.median() / by_hand.median()),
        Row::of("of these, held back by the limit of processor time", "ms", &held_back),
        Row::of("API call to the agent's hello, jailed", "ms", &ours)
            .beside("by hand", ratio)
            .target("<= 1.10 x by hand", ratio <= RATIO),
        Row::one("the same beside by hand, jailed and within limits", "x", ours.median() / limited_by_hand.median()),
        Row::of("of these, hearth before Firecracker may run and after the hello", "ms", &own)
            .target("<= 25 ms", own.median() <= OWN_MS),
    ];
    rows.extend(steps);
    rows.extend([
        Row::of("memory of the process by hand, the guest's apart", "KiB", &bare),
        Row::of("memory of the jailed process, the guest's apart", "KiB", &jailed)
            .beside("by hand", jailed.median() / bare.median()),
        Row::one(format!("memory of the server a VM, {MANY} at once"), "KiB", each_kib).target("<= 256 KiB", each_kib <= OWN_KIB),
    ]);
    Ok(rows)
}

/// Of hearth's starts, what it says of each step, in their order. The guest boots during the last two.
fn steps(dir: &Path) -> Result<Vec<Row>> {
    let named = [
        ("process", "files, jail, fork and limits"),
        ("exec", "the jailer's exec"),
        ("socket", "jailer and Firecracker to the API's socket"),
        ("configuration", "its configuration"),
        ("InstanceStart", "InstanceStart"),
        ("confinement", "the look at its threads"),
        ("agent", "to the agent's hello"),
    ];
    let row = |(step, what): (&str, &str)| {
        let mut samples = Samples::default();
        // The first start filled the caches.
        samples.extend(Server::steps(dir, step)?.into_iter().skip(1));
        say(&format!("   {step}: {:.0} ms", samples.median()))?;
        Ok(Row::of(format!("of these, {what}"), "ms", &samples))
    };
    named.into_iter().map(row).collect()
}

async fn create(http: &mut Http, name: &str) -> Result<String> {
    let body = json!({"name": name, "spec": {"vcpus": 1, "mem_mib": MEM_MIB, "image": "rootfs", "networks": []}});
    text(&http.want("POST", "/v1/vms?wait=60", &body.to_string()).await?, "/id")
}

/// What the server grows by with each VM that runs.
async fn many(http: &mut Http, server: &Server) -> Result<f64> {
    let before = server.rss_kib()?;
    for number in 0..MANY {
        let vm = create(http, &format!("many-{number}")).await?;
        start(http, &vm).await?;
    }
    let after = server.rss_kib()?;
    for number in 0..MANY {
        http.want("POST", &format!("/v1/vms/many-{number}/stop?wait=60"), r#"{"force":true}"#).await?;
    }
    Ok((after - before) / MANY as f64)
}

/// What of a process is resident, but for its largest mapping: the guest's memory.
fn beside_guest_kib(pid: u32) -> Result<f64> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let kib = |line: &str, field: &str| -> Option<f64> { line.strip_prefix(field)?.trim().trim_end_matches(" kB").parse().ok() };
    let (mut size, mut largest, mut of_largest, mut all) = (0.0, 0.0, 0.0, 0.0);
    for line in smaps.lines() {
        if let Some(kib) = kib(line, "Size:") {
            size = kib;
        }
        if let Some(kib) = kib(line, "Rss:") {
            all += kib;
            if size > largest {
                (largest, of_largest) = (size, kib);
            }
        }
    }
    ensure!(largest >= f64::from(MEM_MIB * 1024), "no mapping of {pid} is as large as its guest's memory");
    Ok(all - of_largest)
}
