//! The real OpenSSH client against a guest, as people use it: by hearth as its proxy, or to a forwarded port.

use crate::{
    Server,
    command::{Ran, finish_within},
};
use anyhow::{Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// Key exchange and login of an emulated guest take seconds, ten times that on a busy machine; so does the transfer of some megabytes.
const SSH_WITHIN: Duration = Duration::from_secs(120);

/// A key of its own, and what it knows of hosts, in a folder.
pub struct Ssh {
    folder: PathBuf,
    proxy: String,
    url: String,
    token: String,
}

impl Ssh {
    /// Makes the key.
    pub async fn prepare(server: &Server, folder: &Path) -> Result<Ssh> {
        let ssh = Ssh {
            folder: folder.to_owned(),
            proxy: format!("ProxyCommand={} vm connect %h 22", server.machine().hearth.display()),
            url: server.url(),
            token: server.token()?,
        };
        let made = ssh.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", &ssh.key()]).await?;
        ensure!(made.code == Some(0), "{made:?}");
        Ok(ssh)
    }

    fn key(&self) -> String {
        self.folder.join("key").display().to_string()
    }

    pub fn public_key_file(&self) -> String {
        format!("{}.pub", self.key())
    }

    /// What of the host's keys is known, one line each.
    pub fn known_hosts(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("known_hosts"))?)
    }

    /// `ssh` or `scp` with its last arguments, which succeeds; what it printed.
    pub async fn by_proxy(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.through(program, &["-o", &self.proxy], arguments).await
    }

    /// The same to a port of this machine.
    pub async fn by_port(&self, program: &str, port: &str, arguments: &[&str]) -> Result<String> {
        self.through(program, &["-o", &format!("Port={port}")], arguments).await
    }

    async fn through(&self, program: &str, how: &[&str], arguments: &[&str]) -> Result<String> {
        let (key, hosts) = (self.key(), format!("UserKnownHostsFile={}", self.folder.join("known_hosts").display()));
        // Nobody's own configuration, no question, and no host key but the one that was seen first.
        let usual = ["-F", "none", "-i", &key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", &hosts];
        let more = ["-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=60"];
        let all: Vec<&str> = usual.iter().chain(&more).chain(how).chain(arguments).copied().collect();
        let ran = self.run(program, &all).await?;
        ensure!(ran.code == Some(0), "{program} {arguments:?} ended with {:?}: {}", ran.code, ran.stderr);
        Ok(ran.stdout)
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(program);
        command.args(arguments).env("HEARTH_URL", &self.url).env("HEARTH_TOKEN", &self.token).env_remove("SSH_AUTH_SOCK");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        finish_within(SSH_WITHIN, command, None, program).await
    }
}
