//! One `hearth up` on a data directory of its own: started, asked, killed, started again on the same directory. What it prints is kept
//! for the failing test's report. Dropped, it takes everything with it that it may have left: its guests are ended by what the machine says.

mod output;

use crate::{Machine, images, remains, scenario, wait};
use anyhow::{Context, Result, bail};
use api::client::Client;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
pub use output::Log;
use output::Output;
use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

/// Recovery of a handful of VMs takes milliseconds; the KVM self-test some seconds where KVM hangs, and half a minute where all is emulated and busy.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// The server's own deadlines for its end add up to less.
const END_WITHIN: Duration = Duration::from_secs(75);

/// How to start it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `qemu`, `firecracker`, `auto`, `simulated`.
    pub vmm: &'static str,
    pub network: bool,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Register the images of the machine's list.
    pub images: bool,
    /// An existing data directory, to be left alone at the end; absent: a temporary one.
    pub data_dir: Option<PathBuf>,
    /// A program that starts it, with its arguments: `prlimit --nofile=64`.
    pub through: Vec<String>,
}

impl Options {
    /// Real guests with a network.
    pub fn qemu() -> Options {
        Options {
            vmm: "qemu",
            network: true,
            arguments: vec![],
            environment: vec![],
            images: true,
            data_dir: None,
            through: vec![],
        }
    }

    /// Real guests, no network: nothing of the machine's is touched but processes.
    pub fn offline() -> Options {
        Options { network: false, ..Options::qemu() }
    }

    /// Real guests in jails, with a network, on the Firecracker that HEARTH_FIRECRACKER names.
    pub fn firecracker() -> Options {
        Options { vmm: "firecracker", ..Options::qemu() }
    }

    /// The API without guests.
    pub fn simulated() -> Options {
        Options { vmm: "simulated", network: false, ..Options::qemu() }
    }

    pub fn argument(mut self, argument: &str) -> Options {
        self.arguments.push(argument.to_owned());
        self
    }
}

/// A running server.
pub struct Server {
    machine: Machine,
    options: Options,
    folder: Option<tempfile::TempDir>,
    data_dir: PathBuf,
    slot: Slot,
    port: u16,
    child: Option<Child>,
    output: Output,
    client: Option<Client>,
}

impl Server {
    /// Starts it, and registers the images if that is asked for.
    pub async fn start(machine: &Machine, options: Options) -> Result<Server> {
        let mut server = Server::prepare(machine, options)?;
        server.up().await?;
        if server.options.images {
            images::register(&server).await?;
        }
        Ok(server)
    }

    /// Everything but the start.
    pub fn prepare(machine: &Machine, options: Options) -> Result<Server> {
        let folder = match options.data_dir {
            Some(_) => None,
            // Short: sockets in it have 108 bytes for their path.
            None => Some(tempfile::Builder::new().prefix("hearth-e2e-").tempdir()?),
        };
        let data_dir = match (&options.data_dir, &folder) {
            (Some(dir), _) => dir.clone(),
            (None, Some(folder)) => folder.path().join("data"),
            (None, None) => bail!("a server needs a data directory"),
        };
        let (machine, output) = (machine.clone(), Output::default());
        scenario::remember(output.log());
        Ok(Server {
            machine,
            options,
            folder,
            data_dir,
            slot: Slot::take(),
            port: free_port()?,
            child: None,
            output,
            client: None,
        })
    }

    /// What the next start is told besides, in place of what the last one was.
    pub fn tell(&mut self, arguments: &[&str]) {
        self.options.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    }

    /// What the next start runs VMs with.
    pub fn choose(&mut self, vmm: &'static str) {
        self.options.vmm = vmm;
    }

    /// `hearth up`, without waiting for anything.
    pub fn begin(&mut self) -> Result<()> {
        let mut child = self.command().spawn().context("hearth does not start")?;
        self.output.follow(&mut child)?;
        self.child = Some(child);
        Ok(())
    }

    /// `hearth up`, until it says that it is ready. On the same directory and port each time.
    pub async fn up(&mut self) -> Result<()> {
        self.begin()?;
        let outcome = wait::until("the server's ready line", READY_WITHIN, || async {
            if self.output.ready_line() {
                return Ok(Some(true));
            }
            Ok(self.output.ended().then_some(false))
        })
        .await?;
        if !outcome {
            let status = self.ended().await?;
            bail!("hearth up ended with {status} before it was ready:\n{}", self.output.text());
        }
        let token = std::fs::read_to_string(self.token_file()).context("the admin's token")?;
        self.client = Some(Client::new(&self.url(), Some(token.trim()))?);
        Ok(())
    }

    /// The command, without starting it: for tests of starts that must fail.
    pub fn command(&self) -> Command {
        let mut command = match self.options.through.split_first() {
            None => Command::new(&self.machine.hearth),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.machine.hearth);
                command
            }
        };
        command.args(["up", "--vmm", self.options.vmm, "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"]);
        command.arg(&self.data_dir);
        if self.options.network {
            command.args(["--bridge", &self.slot.bridge(), "--subnet", &self.slot.subnet()]);
        } else {
            command.arg("--no-network");
        }
        command.args(&self.options.arguments);
        // The scripts' HEARTH_IMAGES names a folder; the server's own names the list.
        command.env("HEARTH_IMAGES", self.machine.manifest()).env_remove("HEARTH_TOKEN").env_remove("HEARTH_URL");
        command.envs(self.options.environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// How it is started from now on.
    pub fn start_through(&mut self, through: &[&str]) {
        self.options.through = through.iter().map(|word| (*word).to_owned()).collect();
    }

    /// The typed client. Panics before the first start.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("the server was started")
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub fn token_file(&self) -> PathBuf {
        self.data_dir.join("admin.token")
    }

    pub fn token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.token_file())?.trim().to_owned())
    }

    /// Which hearth this is; stands on everything that belongs to it.
    pub fn owner(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.data_dir.join("id")).context("the data directory's id")?.trim().to_owned())
    }

    pub fn bridge(&self) -> String {
        self.slot.bridge()
    }

    pub fn gateway(&self) -> String {
        self.slot.gateway()
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn log(&self) -> String {
        self.output.text()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("the server does not run")?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal).context("the server is not there")
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.ended().await.map(|_| ())
    }

    /// SIGTERM, and how it ended.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.ended().await
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the server does not run")?;
        let mut status = None;
        let waited = wait::until("the server's end", END_WITHIN, || {
            let seen = child.try_wait();
            async move { Ok(seen?) }
        })
        .await;
        match waited {
            Ok(ended) => status = Some(ended),
            Err(_) => self.child = Some(child),
        }
        self.output.drained();
        status.context("the server did not end in time")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Ok(owner) = self.owner() {
            remains::clear(&owner, self.options.network.then(|| self.bridge()).as_deref());
        }
        drop(self.folder.take());
    }
}

/// A port that was free a moment ago. Not 0: a server that starts again must be found where it was.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A bridge and a subnet that no other server of this process has. Not hearth0: somebody may run hearth beside the tests.
struct Slot(u8);

static SLOTS: Mutex<BTreeSet<u8>> = Mutex::new(BTreeSet::new());

impl Slot {
    fn take() -> Slot {
        let mut taken = SLOTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let free = (0..100).find(|slot| !taken.contains(slot)).expect("fewer than a hundred servers at a time");
        taken.insert(free);
        Slot(free)
    }

    fn bridge(&self) -> String {
        format!("hearthe2e{}", self.0)
    }

    fn subnet(&self) -> String {
        format!("10.{}.0.0/16", 77 + self.0)
    }

    fn gateway(&self) -> String {
        format!("10.{}.0.1", 77 + self.0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        SLOTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.0);
    }
}
