//! The agent as a real process against the mux client, over a unix socket. The agent runs by hand here (`--socket`), so it has no right
//! over the machine; booting it is tried in the VMM suites.
#![allow(clippy::unwrap_used)]
use api::guest::{ErrorCode, ExecRequest, ExitStatus, GENERATION, NetworkConfig, ShutdownKind, Stdin, TtySize};
use host::guest::{Collected, ExecEvent, ExecSession, Guest, GuestFault, GuestSession};
use std::time::{Duration, SystemTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

#[path = "support/agent.rs"]
mod agent;

use agent::{Agent, DEADLINE};

fn shell(script: &str) -> ExecRequest {
    ExecRequest { argv: ["sh", "-c", script].map(str::to_owned).to_vec(), ..ExecRequest::default() }
}

async fn run(guest: &Guest, request: ExecRequest) -> Collected {
    timeout(DEADLINE, guest.exec(request).await.unwrap().collect(1 << 24)).await.expect("it ends").unwrap()
}

/// Reads until the output holds `wanted`.
async fn wait_for(session: &mut ExecSession, wanted: &str) -> String {
    let mut text = String::new();
    timeout(DEADLINE, async {
        while !text.contains(wanted) {
            match session.output.next().await.unwrap() {
                ExecEvent::Stdout(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("{other:?} instead of {wanted:?} after {text:?}"),
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {wanted:?}"));
    text
}

async fn gone(pid: u32) {
    let running = || {
        // A zombie is gone as well.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    timeout(DEADLINE, async {
        while running() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{pid} still runs"));
}

#[tokio::test]
async fn says_who_it_is_and_answers() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let info = guest.info();
    assert_eq!((info.generation, info.agent_version.as_str()), (GENERATION, env!("CARGO_PKG_VERSION")));
    assert!(!info.boot_id.is_empty() && !info.kernel_release.is_empty());
    assert!(guest.ping().await.unwrap() < DEADLINE);
}

#[tokio::test]
async fn output_exit_codes_and_signals() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let all = run(&guest, shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!((all.stdout.as_slice(), all.stderr.as_slice(), all.status), (&b"out\n"[..], &b"err\n"[..], ExitStatus::Code(7)));
    assert_eq!(run(&guest, shell("kill -9 $$")).await.status, ExitStatus::Signal(9));
    let session = guest.exec(shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done")).await;
    let mut session = session.unwrap();
    wait_for(&mut session, "ready").await;
    session.control.signal(10).await.unwrap();
    assert_eq!(timeout(DEADLINE, session.collect(1000)).await.unwrap().unwrap().status, ExitStatus::Code(9));
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_by_reason() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let code = async |request| match guest.exec(request).await {
        Err(GuestFault::Refused(error)) => error.code,
        other => panic!("{other:?}"),
    };
    let argv = |program: &str| vec![program.to_owned()];
    assert_eq!(code(ExecRequest { argv: argv("no-such-program"), ..shell("") }).await, ErrorCode::NotFound);
    assert_eq!(code(ExecRequest { argv: argv("/etc/passwd"), ..shell("") }).await, ErrorCode::PermissionDenied);
    assert_eq!(code(ExecRequest { cwd: Some("/no/such".into()), ..shell("") }).await, ErrorCode::NotFound);
    assert_eq!(code(ExecRequest { user: Some("no-such-user".into()), ..shell("") }).await, ErrorCode::NotFound);
    assert_eq!(code(ExecRequest { env: vec![("A=B".into(), "c".into())], ..shell("") }).await, ErrorCode::InvalidRequest);
    guest.ping().await.unwrap();
}

#[tokio::test]
async fn environment_folder_and_user() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let request = ExecRequest {
        env: vec![("COLOUR".into(), "red".into())],
        cwd: Some("/proc".into()),
        ..shell("echo $COLOUR $PWD; env | wc -l; cat /proc/self/oom_score_adj")
    };
    let text = String::from_utf8(run(&guest, request).await.stdout).unwrap();
    assert!(text.starts_with("red /proc\n") && text.ends_with("\n0\n"), "{text}");
    if nix::unistd::getuid().is_root() {
        let request = ExecRequest { user: Some("65534:12".into()), ..shell("id -u; id -g") };
        assert_eq!(run(&guest, request).await.stdout, b"65534\n12\n");
    }
}

#[tokio::test]
async fn input_flows_both_ways_beyond_every_window() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let request = ExecRequest { argv: vec!["cat".into()], stdin: Stdin::Stream, ..ExecRequest::default() };
    let session = guest.exec(request).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let ExecSession { mut stdin, mut output, .. } = session;
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        stdin.close().await.unwrap();
    };
    let read = async {
        let mut got = Vec::new();
        loop {
            match output.next().await.unwrap() {
                ExecEvent::Stdout(bytes) => got.extend_from_slice(&bytes),
                ExecEvent::Exit(status) => break (got, status),
                other => panic!("{other:?}"),
            }
        }
    };
    let ((), (got, status)) = timeout(DEADLINE, async { tokio::join!(write, read) }).await.expect("no stall");
    assert!(got == sent);
    assert_eq!(status, ExitStatus::Code(0));
}

#[tokio::test]
async fn a_slow_reader_stops_its_own_stream_only() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let mut flood = guest.exec(ExecRequest { argv: vec!["yes".into()], ..ExecRequest::default() }).await.unwrap();
    // Not read: it runs against its window and stands still.
    for _ in 0..50 {
        assert!(timeout(Duration::from_secs(5), guest.ping()).await.expect("a ping gets through").is_ok());
    }
    assert_eq!(run(&guest, shell("echo beside")).await.stdout, b"beside\n");
    // And goes on when it is read, far beyond the window.
    let mut got = 0;
    while got < 4 << 20 {
        match timeout(DEADLINE, flood.output.next()).await.expect("it goes on").unwrap() {
            ExecEvent::Stdout(bytes) => got += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    let pid = flood.pid;
    drop(flood);
    gone(pid).await;
}

#[tokio::test]
async fn terminals_have_sizes_and_there_are_several() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let request = |cols, rows| ExecRequest {
        tty: Some(TtySize { cols, rows }),
        stdin: Stdin::Stream,
        ..shell("stty -echo; echo up; exec sh")
    };
    let mut first = guest.exec(request(91, 33)).await.unwrap();
    let mut second = guest.exec(request(80, 24)).await.unwrap();
    wait_for(&mut first, "up").await;
    wait_for(&mut second, "up").await;
    first.stdin.write_all(b"stty size\n").await.unwrap();
    wait_for(&mut first, "33 91").await;
    first.control.resize(TtySize { cols: 120, rows: 40 }).await.unwrap();
    first.stdin.write_all(b"stty size\n").await.unwrap();
    wait_for(&mut first, "40 120").await;
    second.stdin.write_all(b"stty size; tty\n").await.unwrap();
    wait_for(&mut second, "24 80").await;
    // Ctrl-C reaches the foreground process only.
    // Said by the foreground job itself: an interrupt before it is that would hit the shell.
    first.stdin.write_all(b"PS1='here> '; sh -c 'echo begun; exec sleep 1000'\n").await.unwrap();
    wait_for(&mut first, "begun").await;
    // An interrupt flushes what was typed ahead, so the prompt is waited for.
    first.stdin.write_all(b"\x03").await.unwrap();
    wait_for(&mut first, "here> ").await;
    first.stdin.write_all(b"echo alive; exit 4\n").await.unwrap();
    wait_for(&mut first, "alive").await;
    assert_eq!(timeout(DEADLINE, first.collect(1 << 16)).await.unwrap().unwrap().status, ExitStatus::Code(4));
}

#[tokio::test]
async fn an_exit_does_not_wait_for_a_daemon_that_keeps_the_pipe() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let all = timeout(Duration::from_secs(10), run(&guest, shell("sleep 60 & echo left $!"))).await.expect("no wait for sleep");
    assert_eq!(all.status, ExitStatus::Code(0));
    let text = String::from_utf8(all.stdout).unwrap();
    let pid: i32 = text.trim().strip_prefix("left ").unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_new_session_ends_the_old_ones_processes_even_after_half_a_frame() {
    let agent = Agent::start().await;
    let first = agent.guest().await;
    let mut stubborn = first.exec(shell("trap '' HUP; echo ready; while :; do sleep 0.1; done")).await.unwrap();
    wait_for(&mut stubborn, "ready").await;
    let obedient = first.exec(shell("exec sleep 1000")).await.unwrap();
    let pids = [stubborn.pid, obedient.pid];
    drop((first, stubborn, obedient));
    // A connection that dies within a frame, and one that begins with the rest of it.
    let mut torn = agent.stream().await;
    torn.write_all(&[0, 44, 1, 7, 7, 7]).await.unwrap();
    drop(torn);
    let mut stream = agent.stream().await;
    stream.write_all(&[9; 5000]).await.unwrap();
    let second = Guest::connect(stream, DEADLINE).await.unwrap();
    assert_eq!(run(&second, shell("echo anew")).await.stdout, b"anew\n");
    for pid in pids {
        gone(pid).await;
    }
}

/// The host's end of a connection can die without the agent's learning of it (a machine that was copied), and one that is not read from
/// keeps the agent from all else.
#[tokio::test]
async fn the_newest_connection_is_the_one_that_counts() {
    let agent = Agent::start().await;
    let first = agent.guest().await;
    let mut session = first.exec(shell("echo ready; exec sleep 1000")).await.unwrap();
    wait_for(&mut session, "ready").await;
    let mut deaf = agent.stream().await;
    gone(session.pid).await;
    assert!(matches!(timeout(DEADLINE, first.closed()).await.unwrap(), GuestFault::Closed | GuestFault::Broken { .. }));
    // Answers to nobody, until nothing more goes in: the agent waits for its own.
    let mut asked = Vec::new();
    for (id, message) in [(0, r#"{"type":"hello","generation":1,"nonce":1}"#), (1, r#"{"type":"ping"}"#)] {
        api::guest::frame::encode(api::guest::FrameKind::Control, id, message.as_bytes(), &mut asked).unwrap();
    }
    while timeout(Duration::from_millis(500), deaf.write_all(&asked)).await.is_ok() {}
    let second = agent.guest().await;
    assert_eq!(run(&second, shell("echo anew")).await.stdout, b"anew\n");
}

/// As over a virtio port, where nobody may see that the host has come back.
#[tokio::test]
async fn a_hello_on_the_same_connection_begins_anew() {
    let agent = Agent::start().await;
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let mut wire = agent.stream().await;
    let carry = tokio::spawn(async move {
        let mut far = far;
        let _ = tokio::io::copy_bidirectional(&mut far, &mut wire).await;
    });
    let begin = |nonce: u64| {
        let hello = format!(r#"{{"type":"hello","generation":9,"nonce":{nonce},"colour":"red"}}"#);
        let mut bytes = Vec::new();
        api::guest::frame::encode(api::guest::FrameKind::Control, 0, hello.as_bytes(), &mut bytes).unwrap();
        bytes
    };
    near.write_all(&begin(1)).await.unwrap();
    let exec = br#"{"type":"exec","argv":["sleep","1000"]}"#;
    let mut bytes = Vec::new();
    api::guest::frame::encode(api::guest::FrameKind::Control, 5, exec, &mut bytes).unwrap();
    near.write_all(&bytes).await.unwrap();
    let mut unknown = Vec::new();
    let teleport = br#"{"type":"teleport","to":"mars"}"#;
    api::guest::frame::encode(api::guest::FrameKind::Control, 6, teleport, &mut unknown).unwrap();
    near.write_all(&unknown).await.unwrap();
    let (pid, refusal) = read_answers(&mut near).await;
    assert_eq!(refusal, ErrorCode::Unsupported);
    // Half a frame, then another host.
    near.write_all(&bytes[..bytes.len() / 2]).await.unwrap();
    let guest = Guest::connect(near, DEADLINE).await.unwrap();
    assert_eq!(guest.info().generation, GENERATION);
    gone(pid).await;
    assert_eq!(run(&guest, shell("echo anew")).await.stdout, b"anew\n");
    drop(guest);
    timeout(DEADLINE, carry).await.unwrap().unwrap();
}

/// The exec's pid and the reason of the refusal that follows.
async fn read_answers(stream: &mut tokio::io::DuplexStream) -> (u32, ErrorCode) {
    let mut decoder = api::guest::Decoder::new();
    let mut buffer = [0; 4096];
    let mut started = 0;
    loop {
        let got = timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap().unwrap();
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            let (taken, frame) = decoder.push(rest);
            rest = &rest[taken..];
            match frame.and_then(|frame| serde_json::from_slice(&frame.payload).ok()) {
                Some(api::guest::AgentMessage::Started { pid, .. }) => started = pid,
                Some(api::guest::AgentMessage::Failed(error)) => return (started, error.code),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn the_agents_end_is_the_sessions() {
    let mut agent = Agent::start().await;
    let guest = agent.guest().await;
    let session = guest.exec(shell("exec sleep 1000")).await.unwrap();
    agent.child.kill().unwrap();
    timeout(DEADLINE, guest.closed()).await.expect("it is noticed");
    assert!(timeout(DEADLINE, session.collect(10)).await.expect("no hang").is_err());
    assert!(guest.ping().await.is_err());
}

#[tokio::test]
async fn an_agent_by_hand_leaves_the_machine_alone() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let answers = [
        guest.set_clock(SystemTime::now()).await,
        guest.add_entropy(&[1; 32]).await,
        guest.configure_network(NetworkConfig::default()).await,
        guest.shutdown(ShutdownKind::Poweroff, DEADLINE).await,
    ];
    for answer in answers {
        assert!(matches!(answer, Err(GuestFault::Refused(error)) if error.code == ErrorCode::PermissionDenied));
    }
}

#[tokio::test]
async fn samples_come_at_the_pace_asked_for() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let mut samples = guest.metrics();
    timeout(DEADLINE, samples.wait_for(Option::is_some)).await.unwrap().unwrap();
    guest.metrics_interval(Some(Duration::from_millis(200))).await.unwrap();
    for _ in 0..3 {
        timeout(Duration::from_secs(5), samples.changed()).await.expect("faster than the idle pace").unwrap();
    }
    let sample = samples.borrow().clone().unwrap();
    assert!(sample.memory.total_bytes > 0 && sample.cpu.cpus > 0);
}

#[tokio::test]
async fn nobody_there_is_told_in_time() {
    let (near, _far) = tokio::io::duplex(1 << 16);
    let fault = Guest::connect(near, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(fault, GuestFault::NoHello { after_ms: 50 }));
}
