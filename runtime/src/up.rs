//! `hearth up`: the server's life. Owns the order of the start and of the end, and what is printed; what runs is `actors`, what is served is
//! `http`.
//!
//! ```text
//!  port -> programs -> lock, journal -> token -> serve (503) -> VMM, network -> node recovers -> serve -> ready -> demo
//!  signal -> streams end -> requests end -> actors stop, guests go on -> journal closes
//!  down   -> guests stop -> as by a signal
//! ```
//! The port and the programs come first: they leave nothing behind when they fail.

mod args;
mod demo;
mod error;
mod serve;
mod socket;

pub use args::{JOURNAL, UpArgs, uids};
pub use error::UpError;

use crate::{
    assemble::{self, Found, Wanted, assemble},
    auth::{self, AdminToken},
    embed,
    http::Edge,
    telemetry,
};
use actors::Node;
use std::{
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use storage::{Journal, OpenError, Options};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

/// Requests that are being answered get so long; the slowest of them wait for operations and can be asked again.
const REQUESTS_WITHIN: Duration = Duration::from_secs(10);
/// A guest's own shutdown, as `vm stop` gives it.
const GUESTS_WITHIN: Duration = Duration::from_secs(30);
/// Of the actors (15 s) and the journal's last sync.
const NODE_WITHIN: Duration = Duration::from_secs(30);

/// Runs the server until a signal, `hearth down` or a failure ends it. Tells errors on stderr.
pub fn run(args: UpArgs, data_dir: Option<PathBuf>) -> ExitCode {
    telemetry::init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return UpError::Runtime { source }.tell(),
    };
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(args::DATA_DIR));
    let ended = runtime.block_on(live(args, &data_dir));
    // Blocking work that hangs must not hold the process; the journal is closed by now.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.tell(),
    }
}

/// How the server's life ended.
enum End {
    Signal,
    Down,
    Failed(String),
}

async fn live(args: UpArgs, data_dir: &Path) -> Result<(), UpError> {
    let mut signals = Signals::new()?;
    let listener = bind(&args, data_dir).await?;
    let address = listener.local_addr().map_err(|source| UpError::Listen { address: args.listen.clone(), source })?;
    let found = assemble::look(&wanted(&args, data_dir)).await.map_err(|source| UpError::Assemble { source })?;
    let data_dir = make_data_dir(data_dir)?;
    let journal = open_journal(&args, &data_dir).await?;
    let token = AdminToken::open(&data_dir)?;
    let edge = Edge::new(token);
    let server = serve::start(listener, &edge);
    let node = tokio::select! {
        node = start_node(&args, &data_dir, journal, found) => match node {
            Ok(node) => node,
            Err(error) => {
                server.stop(REQUESTS_WITHIN).await;
                return Err(error);
            }
        },
        // Nothing was promised yet: what was begun is found by the next start, as after a crash.
        () = signals.next() => return Ok(()),
    };
    let meter = Arc::new(host::facts::Meter::new(data_dir.clone()));
    edge.serve(node.clone(), Arc::new(move || serve::host_metrics(meter.usage())));
    let vmm = node.view().host(node.host()).map(|host| {
        let vmm = &host.facts.vmm;
        format!("{} {} ({}: {})", vmm.driver.as_str(), vmm.version, vmm.acceleration, vmm.chosen_because)
    });
    say(&format!(
        "hearth is ready: http://{address}\n  console  http://{address}/\n  token    {}\n  vmm      {}",
        data_dir.join(auth::FILE).display(),
        vmm.unwrap_or_default()
    ));
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the token travels unencrypted on this address: put TLS in front");
    }
    let end = tokio::select! {
        () = signals.next() => End::Signal,
        () = edge.down() => End::Down,
        reason = node.failed() => End::Failed(reason),
        never = demonstrate(&args, &node) => match never {},
    };
    finish(end, &mut signals, edge, server, node).await
}

/// Until the end, whatever comes of the demo.
async fn demonstrate(args: &UpArgs, node: &Node) -> std::convert::Infallible {
    if args.demo {
        demo::run(node, &args.images).await;
    }
    std::future::pending().await
}

async fn finish(end: End, signals: &mut Signals, edge: Edge, server: serve::Server, node: Node) -> Result<(), UpError> {
    let orderly = async {
        if matches!(end, End::Down) {
            say("stopping the guests");
            node.stop_guests(GUESTS_WITHIN).await;
            node.give_back().await;
        }
        edge.end_streams();
        server.stop(REQUESTS_WITHIN).await;
        if tokio::time::timeout(NODE_WITHIN, node.stop()).await.is_err() {
            tracing::warn!("the node did not stop in time; the next start recovers");
        }
    };
    tokio::select! {
        () = orderly => {}
        () = signals.next() => return Err(UpError::Impatient),
    }
    match end {
        End::Signal => {
            say("hearth has stopped; guests go on");
            Ok(())
        }
        End::Down => {
            say("hearth is down");
            Ok(())
        }
        End::Failed(reason) => Err(UpError::Failed { reason }),
    }
}

async fn bind(args: &UpArgs, data_dir: &Path) -> Result<TcpListener, UpError> {
    match TcpListener::bind(&args.listen).await {
        Ok(listener) => Ok(listener),
        Err(source) if source.kind() == std::io::ErrorKind::AddrInUse => {
            // Most often it is this very hearth, started twice; then its pid is the better answer.
            if data_dir.join(args::JOURNAL).is_dir()
                && let Err(error @ UpError::Journal { source: OpenError::InUse { .. } }) = open_journal(args, data_dir).await
            {
                return Err(error);
            }
            Err(UpError::PortInUse { address: args.listen.clone() })
        }
        Err(source) => Err(UpError::Listen { address: args.listen.clone(), source }),
    }
}

/// Only its owner may enter: sockets of machines and the token are in it.
fn make_data_dir(dir: &Path) -> Result<PathBuf, UpError> {
    let failed = |source| UpError::DataDir { path: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    std::path::absolute(dir).map_err(failed)
}

async fn open_journal(args: &UpArgs, data_dir: &Path) -> Result<Journal, UpError> {
    let mut options = Options::new(data_dir.join(args::JOURNAL));
    if let Some(keep) = args.keep_events {
        options.keep_events = keep;
    }
    match tokio::task::spawn_blocking(move || Journal::open(options)).await {
        Ok(opened) => opened.map_err(|source| UpError::Journal { source }),
        Err(error) => Err(UpError::Failed { reason: format!("opening the journal broke off: {error}") }),
    }
}

fn wanted(args: &UpArgs, data_dir: &Path) -> Wanted {
    Wanted {
        data_dir: data_dir.to_owned(),
        vmm: args.vmm,
        bridge: args.bridge.clone(),
        subnet: args.subnet.clone(),
        no_network: args.no_network,
        agent: embed::agent(),
        kernel: demo::kernel(&args.images),
        firecracker: args.firecracker(),
    }
}

async fn start_node(args: &UpArgs, data_dir: &Path, journal: Journal, found: Found) -> Result<Node, UpError> {
    let parts = assemble(journal, &wanted(args, data_dir), found).await.map_err(|source| UpError::Assemble { source })?;
    Node::start(parts).await.map_err(|source| UpError::Node { source })
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> Result<Signals, UpError> {
        let open = |kind| signal(kind).map_err(|source| UpError::Runtime { source });
        Ok(Signals { term: open(SignalKind::terminate())?, int: open(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// To stdout, for whoever started us. One who has gone away is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
