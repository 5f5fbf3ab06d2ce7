//! The command line on real guests: the README's tour, exit codes, JSON for scripts, a shell on a terminal, events as they happen.

use anyhow::{Context, Result, ensure};
use hearth_tests::{
    Need, Options, PATIENCE, Server,
    command::{hearth, ok, run, run_with},
    guest::nothing_left,
    images, scenario, until, within,
};
use serde_json::Value;
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::Command,
};

/// The tour of the README, word by word as far as it is about a server that runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_readme_works() -> Result<()> {
    scenario("the_tour_of_the_readme_works", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        ensure!(ok(&server, &["image", "ls"]).await?.contains("busybox"));
        let mut follow = hearth(&server, &["event", "-f"])?.spawn()?;
        let mut lines = BufReader::new(follow.stdout.take().context("stdout")?).lines();
        // Something to see that the stream is open before what it must show.
        let host = ok(&server, &["host", "ls", "-o", "json"]).await?;
        let host: Value = serde_json::from_str(&host)?;
        let name = host[0]["name"].as_str().or(host["items"][0]["name"].as_str()).context("a host's name")?.to_owned();
        let mut opened = false;
        while !opened {
            ok(&server, &["host", "cordon", &name]).await?;
            ok(&server, &["host", "uncordon", &name]).await?;
            opened = tokio::time::timeout(std::time::Duration::from_secs(1), lines.next_line()).await.is_ok();
        }

        ok(&server, &["vm", "create", "web", "--image", "busybox", "--mem", "128M", "--no-network"]).await?;
        let list = ok(&server, &["vm", "ls"]).await?;
        ensure!(list.contains("web") && list.contains("running"), "{list}");
        let seen = async {
            loop {
                let line = lines.next_line().await?.context("the events ended")?;
                if line.contains("vm-started") && line.contains("web") {
                    return Ok::<(), anyhow::Error>(());
                }
            }
        };
        within("vm-started of web in event -f", PATIENCE, seen).await??;
        let release = ok(&server, &["vm", "exec", "web", "--", "uname", "-r"]).await?;
        let own = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        ensure!(!release.trim().is_empty() && release != own, "{release:?}");
        ok(&server, &["vm", "pause", "web"]).await?;
        ok(&server, &["vm", "resume", "web"]).await?;

        let pid = async |server: &Server| -> Result<u64> {
            let vm: Value = serde_json::from_str(&ok(server, &["vm", "get", "web", "-o", "json"]).await?)?;
            let vm = if vm.is_array() { vm[0].clone() } else { vm };
            vm["status"]["vmm"]["pid"].as_u64().with_context(|| vm.to_string())
        };
        let before = pid(&server).await?;
        server.kill().await?;
        server.up().await?;
        ensure!(pid(&server).await? == before, "another pid after kill -9");
        until("a program after the restart", PATIENCE, || async {
            Ok((run(&server, &["vm", "exec", "web", "--", "uptime"]).await?.code == Some(0)).then_some(()))
        })
        .await?;
        let logs = ok(&server, &["vm", "logs", "web"]).await?;
        ensure!(!logs.trim().is_empty(), "the serial log is empty");
        ok(&server, &["vm", "metrics", "web"]).await?;
        let counted = ok(&server, &["vm", "metrics", "--vmm", "web"]).await?;
        ensure!(counted.contains("drive root") && counted.contains("resident"), "{counted}");
        let timed = ok(&server, &["vm", "logs", "--timestamps", "web"]).await?;
        ensure!(timed.lines().count() >= logs.lines().count(), "{timed:?} for {logs:?}");
        // Whoever looked late says so by what stands before the time.
        ensure!(timed.lines().all(|line| line.trim_start_matches('<').starts_with("20") && line.contains("Z ")), "{timed}");
        ensure!(ok(&server, &["vm", "logs", "--since", "2090-01-01T00:00:00Z", "web"]).await?.is_empty(), "nobody saw that yet");
        ok(&server, &["node", "tree"]).await?;
        ok(&server, &["vm", "stop", "web"]).await?;
        ok(&server, &["vm", "rm", "web"]).await?;
        nothing_left(&server, None).await?;

        // `hearth down` stops guests, and then the server.
        ok(&server, &["vm", "create", "last", "--image", "busybox", "--mem", "128M", "--no-network"]).await?;
        ok(&server, &["down"]).await?;
        ensure!(server.ended().await?.success());
        let owner = server.owner()?;
        ensure!(hearth_tests::remains::processes(&format!("hearth-{owner}-")).is_empty(), "a guest is left after down");
        follow.start_kill()?;
        Ok(())
    })
    .await
}

/// What scripts rely on: 0, 1, 2, and the guest's own; problems as JSON on stderr.
#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_and_json_are_for_scripts() -> Result<()> {
    scenario("exit_codes_and_json_are_for_scripts", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        let id =
            ok(&server, &["vm", "create", "--name", "s", "--image", "busybox", "--mem", "128", "--no-network", "-q"]).await?;
        ensure!(id.starts_with("vm_") && id.lines().count() == 1, "{id:?}");
        for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137)] {
            let ran = run(&server, &["vm", "exec", "s", "--", "sh", "-c", script]).await?;
            ensure!(ran.code == Some(code), "{script}: {ran:?}");
        }
        ensure!(run(&server, &["vm", "exec", "s", "--", "no-such-program"]).await?.code == Some(127));
        ensure!(run(&server, &["vm", "exec", "s", "--", "/etc/passwd"]).await?.code == Some(126));
        let ran = run_with(&server, &["vm", "exec", "-i", "s", "--", "wc", "-c"], "12345").await?;
        ensure!(ran.stdout.trim() == "5", "{ran:?}");
        let ran = run(&server, &["vm", "exec", "s", "--", "sh", "-c", "echo out; echo err >&2"]).await?;
        ensure!(ran.stdout == "out\n" && ran.stderr == "err\n", "{ran:?}");

        let ran = run(&server, &["vm", "get", "nothing"]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.starts_with("error: ") && ran.stderr.contains("hint: "), "{ran:?}");
        let ran = run(&server, &["vm", "start", "s", "-o", "json"]).await?;
        let problem: Value = serde_json::from_str(&ran.stderr).with_context(|| format!("{ran:?}"))?;
        ensure!(ran.code == Some(1) && problem["code"] == "vm-already-running", "{ran:?}");
        ensure!(run(&server, &["vm", "fly"]).await?.code == Some(2));
        ensure!(run(&server, &["vm", "create", "x", "--image", "busybox", "--mem", "much"]).await?.code == Some(2));
        let list: Value = serde_json::from_str(&ok(&server, &["vm", "ls", "-o", "json"]).await?)?;
        ensure!(list.to_string().contains("\"s\""), "{list}");
        for shell in ["bash", "zsh", "fish"] {
            ensure!(ok(&server, &["completion", shell]).await?.contains("hearth"));
        }
        let doctor = run(&server, &["doctor", "-o", "json"]).await?;
        serde_json::from_str::<Value>(&doctor.stdout).with_context(|| format!("{doctor:?}"))?;

        let mut wrong = hearth(&server, &["vm", "ls"])?;
        wrong.env("HEARTH_TOKEN", "wrong-token-for-this-server");
        let ran = hearth_tests::command::finish(wrong, None, "vm ls with a wrong token").await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("hint: "), "{ran:?}");
        ok(&server, &["vm", "rm", "--force", "s"]).await?;
        nothing_left(&server, None).await?;
        server.terminate().await?;
        let ran = run(&server, &["vm", "ls"]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("hearth up"), "{ran:?}");
        Ok(())
    })
    .await
}

/// Answers every POST with one status, and counts.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    heard: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start(status: u16) -> Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (status, heard) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicUsize::new(0)));
        let receiver = Receiver { url, status: Arc::clone(&status), heard: Arc::clone(&heard) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = format!("HTTP/1.1 {} x\r\nconnection: close\r\n\r\n", status.load(Ordering::SeqCst));
                let mut stream = BufReader::new(stream);
                let (mut line, mut length) = (String::new(), 0);
                while stream.read_line(&mut line).await.is_ok_and(|count| count > 2) {
                    if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap_or(0);
                    }
                    line.clear();
                }
                // Unread bytes would reset the connection under the answer.
                let _ = stream.read_exact(&mut vec![0; length]).await;
                heard.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(receiver)
    }
}

/// A webhook's life, an import that is cancelled, and the tree of actors: none of it needs a guest.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_a_cancellation_and_the_tree_of_actors_by_command() -> Result<()> {
    scenario("webhooks_a_cancellation_and_the_tree_of_actors_by_command", &[], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        let json = async |arguments: &[&str]| -> Result<Value> {
            Ok(serde_json::from_str(&ok(&server, &[arguments, &["-o", "json"]].concat()).await?)?)
        };
        let receiver = Receiver::start(500).await?;
        let create = ["webhook", "create", "ci", "--to", &receiver.url, "--kind", "image", "--retry-for", "0"];
        let made = ok(&server, &create).await?;
        ensure!(made.contains("webhook ci created") && made.contains("shown this once: whsec_"), "{made}");
        ensure!(run(&server, &create).await?.stderr.contains("hint: "), "a second of that name");
        images::pretend(&server).await?;
        let letters = until("dead letters", PATIENCE, || async {
            let letters = json(&["webhook", "dead-letters", "ci"]).await?;
            Ok(letters.as_array().filter(|letters| !letters.is_empty()).cloned())
        })
        .await?;
        ensure!(letters[0]["code"] == "http-status" && letters[0]["events"][0]["kind"] == "image", "{letters:?}");
        let listed = ok(&server, &["webhook", "dead-letters", "ci"]).await?;
        ensure!(listed.contains("the receiver answered 500"), "{listed}");
        let tested = run(&server, &["webhook", "test", "ci"]).await?;
        ensure!(tested.code == Some(1) && tested.stderr.contains("the receiver answered 500"), "{tested:?}");

        receiver.status.store(204, Ordering::SeqCst);
        ok(&server, &["webhook", "redeliver", "ci"]).await?;
        until("them to be taken", PATIENCE, || async {
            let status = json(&["webhook", "get", "ci"]).await?["status"].clone();
            Ok((status["dead_letters"] == 0 && status["delivered"].as_u64() > Some(0)).then_some(()))
        })
        .await?;
        ensure!(ok(&server, &["webhook", "test", "ci"]).await?.contains("the receiver answered 204"));
        ok(&server, &["webhook", "update", "ci", "--rename", "told", "--disable", "-l", "team=a"]).await?;
        let shown = ok(&server, &["webhook", "get", "told"]).await?;
        ensure!(shown.contains("disabled") && shown.contains(&receiver.url) && shown.contains("team=a"), "{shown}");
        ensure!(run(&server, &["webhook", "update", "told"]).await?.code == Some(2), "nothing to change");
        let renewed = ok(&server, &["webhook", "update", "told", "--new-secret", "--enable"]).await?;
        ensure!(renewed.contains("shown this once: whsec_"), "{renewed}");
        let row = ok(&server, &["webhook", "ls"]).await?;
        ensure!(row.lines().any(|line| line.starts_with("told") && line.contains("active")), "{row}");

        let id = json(&["webhook", "get", "told"]).await?["id"].as_str().context("an id")?.to_owned();
        let tree = ok(&server, &["node", "tree", "--all"]).await?;
        for name in ["vms", "images", "hosts", "operations", "webhooks", &id] {
            ensure!(tree.contains(name), "{name} is not in {tree}");
        }
        let of = json(&["node", "tree", "--all", "--kind", "webhooks"]).await?;
        let actor = of["actors"].as_array().into_iter().flatten().find(|actor| actor["name"] == id.as_str()).cloned();
        ensure!(actor.is_some_and(|actor| actor["parent"] == "webhooks" && actor["state"] == "running"), "{of}");
        ensure!(run(&server, &["node", "tree", "--kind", "cows"]).await?.stderr.contains("must be one of"));
        let heard = receiver.heard.load(Ordering::SeqCst);
        ok(&server, &["node", "restart", &id]).await?;
        // What reaches it before it is back is refused, and may be asked again.
        let gone = until("it to be back, and gone", PATIENCE, || async {
            run(&server, &["webhook", "rm", "told"]).await?;
            let seen = run(&server, &["webhook", "get", "told"]).await?;
            Ok((seen.code == Some(1)).then_some(seen))
        })
        .await?;
        ensure!(gone.stderr.contains("hint: ") && heard >= 3, "{gone:?} after {heard}");

        let folder = tempfile::tempdir()?;
        let path = images::endless(folder.path())?;
        let path = path.to_str().context("a path")?;
        ok(&server, &["image", "import", "large", "--kind", "rootfs", "--path", path, "--no-wait"]).await?;
        let running = json(&["operation", "ls", "--state", "running"]).await?;
        let operation = running[0]["id"].as_str().with_context(|| running.to_string())?;
        let cancelled = ok(&server, &["operation", "cancel", operation]).await?;
        ensure!(cancelled == format!("operation {operation} cancelled\n"), "{cancelled}");
        ensure!(json(&["operation", "get", operation]).await?["status"] == "cancelled");
        ensure!(!ok(&server, &["image", "ls"]).await?.contains("large"), "what was imported is left");
        let again = run(&server, &["operation", "cancel", operation]).await?;
        ensure!(again.code == Some(1) && again.stderr.contains("has ended"), "{again:?}");
        Ok(())
    })
    .await
}

/// `vm shell` on a terminal of its own: typing, its size and a change of it, its exit code, and the terminal as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_works_on_a_terminal() -> Result<()> {
    scenario("a_shell_works_on_a_terminal", &[Need::Guests, Need::Program("setsid")], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        ok(&server, &["vm", "create", "t", "--image", "busybox", "--mem", "128", "--no-network"]).await?;
        let pty = nix::pty::openpty(Some(&size(100, 30)), None)?;
        let before = rustix::termios::tcgetattr(&pty.slave)?.local_modes;
        // setsid --ctty makes the terminal the controlling one, so that changes of its size are signalled.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(&machine.hearth).args(["vm", "shell", "t"]);
        command.env("HEARTH_URL", server.url()).env("HEARTH_TOKEN", server.token()?);
        let end = || -> Result<Stdio> { Ok(Stdio::from(pty.slave.try_clone()?)) };
        let mut shell = command.stdin(end()?).stdout(end()?).stderr(end()?).kill_on_drop(true).spawn()?;
        let screen = Screen::of(pty.master)?;
        screen.expect("#").await?;
        screen.type_in("stty size\r")?;
        screen.expect("30 100").await?;
        rustix::termios::tcsetwinsize(
            &screen.master,
            rustix::termios::Winsize { ws_col: 77, ws_row: 22, ws_xpixel: 0, ws_ypixel: 0 },
        )?;
        until("the new size in the guest", PATIENCE, || async {
            screen.type_in("stty size\r")?;
            Ok(tokio::time::timeout(std::time::Duration::from_secs(1), screen.expect("22 77")).await.is_ok().then_some(()))
        })
        .await?;
        screen.type_in("exit 9\r")?;
        let status = within("the shell's end", PATIENCE, shell.wait()).await??;
        ensure!(status.code() == Some(9), "{status}");
        ensure!(rustix::termios::tcgetattr(&pty.slave)?.local_modes == before, "the terminal was left raw");
        ok(&server, &["vm", "rm", "--force", "t"]).await?;
        nothing_left(&server, None).await
    })
    .await
}

fn size(cols: u16, rows: u16) -> nix::pty::Winsize {
    nix::pty::Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

/// The master's side of a terminal; a thread reads it for as long as it lives.
struct Screen {
    master: File,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    fn of(master: OwnedFd) -> Result<Screen> {
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, text) = (master.try_clone()?, Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                text.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Ok(Screen { master, shown })
    }

    fn type_in(&self, text: &str) -> Result<()> {
        Ok((&self.master).write_all(text.as_bytes())?)
    }

    /// Waits for the text, and forgets what was shown up to it.
    async fn expect(&self, text: &str) -> Result<()> {
        let what = format!("{text:?} on the terminal");
        let found = until(&what, PATIENCE, || async {
            let mut shown = self.shown.lock().expect("nobody panics with it");
            let end = shown.find(text).map(|at| at + text.len());
            Ok(end.map(|end| drop(shown.drain(..end))))
        });
        found.await.with_context(|| format!("shown: {:?}", self.shown.lock().expect("nobody panics with it")))
    }
}
