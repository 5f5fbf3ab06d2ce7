//! A server of our own: the release binary on a data directory, started, looked at and ended.

use anyhow::{Context, Result, bail};
use nix::{sys::signal::Signal, unistd::Pid};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A free one, told in the line below.
const LISTEN: &str = "127.0.0.1:0";
const READY: &str = "hearth is ready: http://";

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub token: String,
    /// From the start of the process to its line that it is ready.
    pub start_took: Duration,
}

pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("HEARTH_BIN").map_or_else(|| PathBuf::from("target/release/hearth"), PathBuf::from);
    std::path::absolute(&path).with_context(|| format!("{} is not there: run `make bench`", path.display()))
}

impl Server {
    pub fn start(dir: &Path, vmm: &str, more: &[&str]) -> Result<Server> {
        Server::start_with(dir, vmm, more, &[])
    }

    /// One that says when each event was on the disk; see [`Server::durable`].
    pub fn start_traced(dir: &Path, vmm: &str) -> Result<Server> {
        Server::start_with(dir, vmm, &[], &[("HEARTH_LOG", "info,storage::durable=trace"), ("HEARTH_LOG_FORMAT", "json")])
    }

    /// One that says how long each step of a start took; see [`Server::steps`].
    pub fn start_marked(dir: &Path, vmm: &str, more: &[&str]) -> Result<Server> {
        let marks = [("HEARTH_LOG", "info,host::vmm::firecracker::marks=debug"), ("HEARTH_LOG_FORMAT", "json")];
        Server::start_with(dir, vmm, more, &marks)
    }

    fn start_with(dir: &Path, vmm: &str, more: &[&str], environment: &[(&str, &str)]) -> Result<Server> {
        let began = Instant::now();
        let log = std::fs::File::options().create(true).append(true).open(dir.join("hearth.log"))?;
        let mut child = Command::new(binary()?)
            .args(["up", "--listen", LISTEN, "--vmm", vmm, "--data-dir"])
            .arg(dir.join("data"))
            .args(more)
            // A folder here, a file there.
            .env_remove("HEARTH_IMAGES")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the server can't be started")?;
        let out = child.stdout.take().context("no stdout")?;
        for line in BufReader::new(out).lines() {
            if let Some(address) = line?.strip_prefix(READY) {
                let start_took = began.elapsed();
                let token = std::fs::read_to_string(dir.join("data/admin.token"))?.trim().to_owned();
                return Ok(Server { child, address: address.parse()?, token, start_took });
            }
        }
        child.wait()?;
        bail!("the server ended: {}", std::fs::read_to_string(dir.join("hearth.log"))?)
    }

    /// The microsecond since 1970 in which each event was on the disk, by cursor. Only what a server that was started traced has logged.
    pub fn durable(dir: &Path) -> Result<HashMap<u64, u64>> {
        #[derive(serde::Deserialize)]
        struct Line {
            fields: Fields,
        }
        #[derive(serde::Deserialize)]
        struct Fields {
            first: u64,
            last: u64,
            at_us: u64,
        }
        let log = std::fs::read_to_string(dir.join("hearth.log"))?;
        let told = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()).map(|line| line.fields);
        Ok(told.flat_map(|group| (group.first..=group.last).map(move |cursor| (cursor, group.at_us))).collect())
    }

    /// The milliseconds of a step of all starts so far, in their order. Only what a server that was started marked has logged.
    pub fn steps(dir: &Path, step: &str) -> Result<Vec<f64>> {
        #[derive(serde::Deserialize)]
        struct Line {
            fields: Fields,
        }
        #[derive(serde::Deserialize)]
        struct Fields {
            step: String,
            took_us: f64,
        }
        let log = std::fs::read_to_string(dir.join("hearth.log"))?;
        let told = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()).map(|line| line.fields);
        Ok(told.filter(|fields| fields.step == step).map(|fields| fields.took_us / 1e3).collect())
    }

    fn status_kib(&self, field: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Resident, in KiB.
    pub fn rss_kib(&self) -> Result<f64> {
        self.status_kib("VmRSS:")
    }

    /// Processor time of all its threads so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may hold anything: utime and stime are fields 14 and 15 (proc(5)), in hundredths.
        let fields: Vec<&str> = stat.rsplit_once(") ").context("no name")?.1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        nix::sys::signal::kill(Pid::from_raw(self.child.id().try_into()?), signal)?;
        self.child.wait()?;
        Ok(())
    }

    pub fn stop(mut self) -> Result<()> {
        self.end(Signal::SIGTERM)
    }

    pub fn crash(mut self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }
}

impl Drop for Server {
    /// A part that failed leaves no server behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.end(Signal::SIGKILL);
        }
    }
}
