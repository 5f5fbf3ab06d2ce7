//! The process chromedriver, and with it the browser: in a process group of its own, so that no renderer outlives the test.

use crate::{machine, until};
use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    net::TcpListener,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// chromedriver itself listens within a second, also on a busy machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    pub async fn start() -> Result<Driver> {
        let program = machine::program("chromedriver").context("chromedriver")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let driver = Driver { child: command.spawn().context("chromedriver")?, port };
        let http = reqwest::Client::builder().no_proxy().timeout(LISTENS_WITHIN).build()?;
        let status = format!("{}/status", driver.url());
        until("chromedriver", LISTENS_WITHIN, || async { Ok(http.get(&status).send().await.ok().map(|_| ())) }).await?;
        Ok(driver)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
