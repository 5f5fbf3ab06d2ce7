//! What one does inside a guest: programs with their streams and ends, terminals, metrics, the network.

use anyhow::{Context, Result, ensure};
use api::{
    client::{ExecEvent, Options as CallOptions},
    v1::{ExecRequest, Exit, Resize, VmMetrics, VmSpec},
};
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server, guest::nothing_left, machine, raw::Raw, remains, scenario, small, terminal::Typist,
    until, within,
};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

/// Programs: exit codes, signals, both outputs, input, environment, directory, time; asked once and streamed.
#[tokio::test(flavor = "multi_thread")]
async fn programs_run_with_their_streams_and_ends() -> Result<()> {
    scenario("programs_run_with_their_streams_and_ends", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "programs", offline()).await?;
        once(&server, &guest).await?;
        streamed(&server, &guest).await?;
        refused(&server, &guest).await?;
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

async fn once(server: &Server, guest: &Guest) -> Result<()> {
    let result = guest.run(&["sh", "-c", "echo out; echo err >&2; exit 7"]).await?;
    ensure!(result.exit == Exit { code: Some(7), signal: None }, "{:?}", result.exit);
    ensure!(result.stdout == "out\n" && result.stderr == "err\n" && !result.truncated, "{result:?}");
    let result = guest.run(&["sh", "-c", "kill -9 $$"]).await?;
    ensure!(result.exit == Exit { code: None, signal: Some(9) }, "{:?}", result.exit);
    let request = ExecRequest {
        command: vec!["sh".into(), "-c".into(), "pwd; echo $COLOUR; cat".into()],
        env: [("COLOUR".to_owned(), "green".to_owned())].into(),
        cwd: Some("/tmp".into()),
        stdin: Some("from afar".into()),
        ..ExecRequest::default()
    };
    let result = server.client().vms().exec(&guest.id, &request).await?;
    ensure!(result.stdout == "/tmp\ngreen\nfrom afar", "{result:?}");
    // More than the answer holds: cut, and said so.
    let result = guest.run(&["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"]).await?;
    ensure!(result.truncated && result.stdout.len() == 1 << 20, "truncated: {}, {} bytes", result.truncated, result.stdout.len());
    Ok(())
}

/// Input in pieces, its end, a signal, a large output without a byte lost.
async fn streamed(server: &Server, guest: &Guest) -> Result<()> {
    let stream = |line: &str| {
        let request = ExecRequest { command: ["sh", "-c", line].map(str::to_owned).to_vec(), ..ExecRequest::default() };
        async move { server.client().exec_stream(&guest.id, &request).await }
    };
    let mut exec = stream("cat; echo done >&2; exit 3").await?;
    let input = exec.input();
    for part in ["one ", "two ", "three"] {
        input.send(part.as_bytes()).await?;
    }
    input.eof().await?;
    let (out, err, exit) = within("cat", PATIENCE, drain(&mut exec)).await??;
    ensure!(
        out == b"one two three" && err == b"done\n",
        "{:?} {:?}",
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&err)
    );
    ensure!(exit.code == Some(3), "{exit:?}");

    let mut exec = stream("trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done").await?;
    let input = exec.input();
    let mut seen = Vec::new();
    let outcome = async {
        let mut sent = false;
        while let Some(event) = exec.next().await? {
            match event {
                ExecEvent::Stdout(bytes) => seen.extend_from_slice(&bytes),
                ExecEvent::Exit(exit) => return Ok::<Exit, anyhow::Error>(exit),
                ExecEvent::Stderr(_) | ExecEvent::Error(_) => {}
            }
            if !sent && seen.starts_with(b"ready") {
                input.signal(15).await?;
                sent = true;
            }
        }
        anyhow::bail!("no exit")
    };
    let exit = within("the trap", PATIENCE, outcome).await??;
    ensure!(exit.code == Some(9) && seen.ends_with(b"caught\n"), "{exit:?} {:?}", String::from_utf8_lossy(&seen));

    let mut exec = stream("seq 1 300000").await?;
    exec.input().eof().await?;
    let (out, _, exit) = within("seq", PATIENCE, drain(&mut exec)).await??;
    ensure!(exit.code == Some(0) && out.ends_with(b"\n300000\n"), "{exit:?}, {} bytes", out.len());
    let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    ensure!(lines == 300_000, "{lines} lines of 300000");
    Ok(())
}

async fn drain(exec: &mut api::client::ExecStream) -> Result<(Vec<u8>, Vec<u8>, Exit)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match exec.next().await?.context("the stream ended without an exit")? {
            ExecEvent::Stdout(bytes) => out.extend_from_slice(&bytes),
            ExecEvent::Stderr(bytes) => err.extend_from_slice(&bytes),
            ExecEvent::Exit(exit) => return Ok((out, err, exit)),
            ExecEvent::Error(error) => anyhow::bail!("it did not run: {error}"),
        }
    }
}

async fn refused(server: &Server, guest: &Guest) -> Result<()> {
    let exec = |body: serde_json::Value| async move {
        Raw::new(server, Method::POST, &format!("/v1/vms/{}/exec", guest.id))?.json(&body).send().await
    };
    let answer = exec(json!({"command": ["no-such-program"]})).await?;
    ensure!(answer.status == 422, "{} {}", answer.status, answer.text());
    let begun = Instant::now();
    exec(json!({"command": ["sleep", "600"], "timeout_s": 1})).await?.problem(504, "exec-timeout")?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let gone = until("the end of a program whose time is up", PATIENCE, || async {
        let left = guest.sh("ps | grep -c '[s]leep 600' || true").await?;
        Ok((left == "0").then_some(()))
    });
    gone.await?;
    // The same key runs a program once.
    let twice = || async {
        let path = format!("/v1/vms/{}/exec", guest.id);
        let body = json!({"command": ["sh", "-c", "echo x >> /tmp/once; wc -l < /tmp/once"]});
        Raw::new(server, Method::POST, &path)?.header("idempotency-key", "once-only").json(&body).send().await?.value()
    };
    let (first, second) = (twice().await?, twice().await?);
    ensure!(first["stdout"] == "1\n" && first == second, "{first} {second}");
    Ok(())
}

/// Terminals: typing, size, two at a time, the end. And the serial console.
#[tokio::test(flavor = "multi_thread")]
async fn terminals_are_typed_in_sized_and_ended() -> Result<()> {
    scenario("terminals_are_typed_in_sized_and_ended", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "terminal", offline()).await?;
        let client = server.client();
        let mut first = Typist::shell(client, &guest.id, Some(Resize { cols: 91, rows: 33 })).await?;
        first.ask("stty size", "33 91").await?;
        first.resize(120, 40).await?;
        first.ask("stty size", "40 120").await?;
        let mut second = Typist::shell(client, &guest.name, None).await?;
        second.ask("MINE=second; echo it is $((40 + 2))", "it is 42").await?;
        first.ask("echo \"mine: <$MINE> $((6 * 7))\"", "mine: <> 42").await?;
        second.ask("stty size", "24 80").await?;
        // Each has a terminal of its own.
        second.ask("tty", "/dev/pts/").await?;
        // Ctrl-C reaches the program and not the shell.
        second.type_in("sleep 1000\n").await?;
        let runs = || async { Ok((guest.sh("ps | grep -c '[s]leep 1000' || true").await? == "1").then_some(())) };
        until("the program on the terminal", PATIENCE, runs).await?;
        second.type_in("\u{3}").await?;
        second.ask("echo still $((1 + 1))", "still 2").await?;
        second.type_in("exit 5\n").await?;
        ensure!(second.exit().await? == Exit { code: Some(5), signal: None }, "the shell's exit code");
        // A terminal that goes away takes its shell along, and what runs in the foreground.
        first.type_in("echo $$ > /tmp/shell; sleep 4711\n").await?;
        let count = || guest.sh("ps | grep -c '[s]leep 4711' || true");
        until("the program on the terminal", PATIENCE, || async { Ok((count().await? == "1").then_some(())) }).await?;
        drop(first);
        until("the end of what the terminal had", PATIENCE, || async { Ok((count().await? == "0").then_some(())) }).await?;
        let shell = || guest.sh("test -e /proc/$(cat /tmp/shell) && echo there || echo gone");
        until("the shell's end", PATIENCE, || async { Ok((shell().await? == "gone").then_some(())) }).await?;

        let mut console = Typist::of(client.console(&guest.id).await?);
        guest.sh("echo hello serial > /dev/console").await?;
        console.expect("hello serial").await?;
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// Metrics: samples come, and what the guest does shows in them.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_what_the_guest_does() -> Result<()> {
    scenario("metrics_show_what_the_guest_does", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "busy", offline()).await?;
        let mut stream = server.client().vm_metrics(&guest.id).await?;
        let mut next = async || within("a sample", PATIENCE, stream.next()).await??.context("the stream of samples ended");
        let first = next().await?;
        ensure!(first.mem_total_bytes > 64 << 20 && first.mem_total_bytes <= 128 << 20, "{first:?}");
        ensure!(first.mem_used_bytes > 0 && first.disk_total_bytes > 1 << 20 && first.processes > 1, "{first:?}");
        ensure!(first.vmm_rss_bytes > 16 << 20, "{first:?}");
        guest.sh("(while :; do :; done) & echo $! > /tmp/load; dd if=/dev/zero of=/root/big bs=1M count=8; sync").await?;
        let begun = Instant::now();
        let loaded = loop {
            let sample = next().await?;
            if sample.cpu_percent > 60.0 && sample.disk_written_bytes_total >= first.disk_written_bytes_total + (8 << 20) {
                break sample;
            }
            ensure!(begun.elapsed() < PATIENCE, "no load in {sample:?}");
        };
        ensure!(loaded.time_ms > first.time_ms && loaded.uptime_s > first.uptime_s, "{first:?} {loaded:?}");
        ensure!(loaded.vmm_cpu_ms_total > first.vmm_cpu_ms_total, "{first:?} {loaded:?}");
        let outside = |sample: &VmMetrics| {
            let drives = sample.vmm.as_ref().map(|vmm| vmm.drives.as_slice()).unwrap_or_default();
            drives.iter().find(|drive| drive.name == "root").map(|root| root.written_bytes_total)
        };
        let (before, after) = (outside(&first).context("no root drive")?, outside(&loaded).context("no root drive")?);
        ensure!(after >= before + (8 << 20), "the VMM counts {before}, then {after}");
        guest.sh("kill $(cat /tmp/load)").await?;
        let begun = Instant::now();
        while next().await?.cpu_percent > 40.0 {
            ensure!(begun.elapsed() < PATIENCE, "the load does not end");
        }
        let one = server.client().vms().metrics(&guest.id).await?;
        ensure!(one.time_ms >= loaded.time_ms, "{one:?}");
        let host = server.client().hosts().list(Default::default()).next().await?.context("a host")?;
        let sample = server.client().hosts().metrics(&host.id).await?;
        ensure!(sample.mem_used_bytes > 0 && sample.mem_total_bytes > sample.mem_used_bytes, "{sample:?}");
        ensure!(host.status.held_vcpus == 1 && host.status.held_mem_mib >= 128, "{:?}", host.status);
        let text = Raw::new(&server, Method::GET, "/metrics")?.send().await?.text();
        ensure!(
            text.lines().any(|line| line.starts_with("hearth_vms") && line.contains("running") && line.ends_with(" 1")),
            "{text}"
        );
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// The network: the address told is the guest's, the gateway answers, the neighbours and the host do not.
#[tokio::test(flavor = "multi_thread")]
async fn guests_reach_the_gateway_and_not_each_other() -> Result<()> {
    scenario(
        "guests_reach_the_gateway_and_not_each_other",
        &[Need::Guests, Need::Network, Need::Program("nft")],
        async |machine| {
            let server = Server::start(&machine, Options::qemu()).await?;
            let host = server.client().hosts().list(Default::default()).next().await?.context("a host")?;
            if let Some(problem) = host.status.network_problem {
                machine::skipped("guests_reach_the_gateway_and_not_each_other", &problem);
                return Ok(());
            }
            let one = Guest::boot(&server, "one", small()).await?;
            let two = Guest::boot(&server, "two", small()).await?;
            let (first, second) = (one.address().await?, two.address().await?);
            ensure!(first != second, "both are {first}");
            for (guest, address) in [(&one, &first), (&two, &second)] {
                let told = guest.sh("ip -4 addr show").await?;
                ensure!(told.contains(&format!("inet {address}/")), "{address} is not in {told}");
                guest.sh(&format!("ping -c 2 -W 5 {}", server.gateway())).await.context("the gateway does not answer")?;
            }
            for (from, to) in [(&one, &second), (&two, &first)] {
                let ping = from.run(&["ping", "-c", "2", "-W", "2", to]).await?;
                ensure!(ping.exit.code == Some(1), "{} reaches {to}: {ping:?}", from.name);
            }
            // The API listens on the host's loopback, and nothing else of the host is for guests.
            let api = format!("wget -T 3 -q -O - http://{}:{}/healthz", server.gateway(), server.port());
            ensure!(one.run(&["sh", "-c", &api]).await?.exit.code != Some(0), "a guest reaches the host's API");
            let tap = remains::taps(&server.owner()?, Some(&one.id));
            ensure!(tap.len() == 1, "{tap:?}");

            // The address is for life.
            one.stop(false).await?;
            one.start().await?;
            ensure!(one.address().await? == first, "another address after a restart");
            one.sh(&format!("ping -c 1 -W 5 {}", server.gateway())).await?;
            one.delete(&server, true).await?;
            two.delete(&server, true).await?;
            nothing_left(&server, None).await?;
            ensure!(remains::table(&server.bridge()), "the table ends with the server, not with the last VM");
            server.client().node_down().await?;
            let mut server = server;
            server.ended().await?;
            ensure!(!remains::table(&server.bridge()), "the table is left after down");
            let link = std::path::Path::new("/sys/class/net").join(server.bridge());
            ensure!(!link.exists(), "the bridge is left after down");
            ensure!(remains::group(&server.owner()?).is_none(), "the server's own cgroup is left after down");
            Ok(())
        },
    )
    .await
}

/// `disk_mib` gives the guest more room, and the image stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn each_vm_has_a_disk_of_its_own() -> Result<()> {
    scenario("each_vm_has_a_disk_of_its_own", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let digest = server.client().images().get("busybox").await?.status.digest;
        let one = Guest::boot(&server, "one", offline()).await?;
        one.sh("echo mine > /root/mark; sync").await?;
        let two = Guest::boot(&server, "two", offline()).await?;
        ensure!(two.run(&["test", "-e", "/root/mark"]).await?.exit.code == Some(1), "one's file is on two's disk");
        let busy = server.client().images().delete("busybox", &CallOptions::default()).await;
        let problem = hearth_tests::guest::refused(busy)?;
        ensure!(problem.code == "image-in-use" && problem.status == 409, "{problem:?}");
        ensure!(server.client().images().get("busybox").await?.status.digest == digest);
        one.delete(&server, true).await?;
        two.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}
