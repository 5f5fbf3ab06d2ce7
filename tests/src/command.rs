//! The command line as people and scripts use it: its output, its exit code, and on a terminal of its own.

use crate::{PATIENCE, Server, within};
use anyhow::{Context, Result, ensure};
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command};

/// What a run gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `hearth …` against a server, with its token.
pub fn hearth(server: &Server, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(&server.machine().hearth);
    command.args(arguments).env("HEARTH_URL", server.url()).env("HEARTH_TOKEN", server.token()?).env("NO_COLOR", "1");
    command.env_remove("HEARTH_DATA_DIR").env("COLUMNS", "200");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

/// Runs it to its end, whatever that is.
pub async fn run(server: &Server, arguments: &[&str]) -> Result<Ran> {
    finish(hearth(server, arguments)?, None, &arguments.join(" ")).await
}

/// The same with input.
pub async fn run_with(server: &Server, arguments: &[&str], input: &str) -> Result<Ran> {
    let mut command = hearth(server, arguments)?;
    command.stdin(Stdio::piped());
    finish(command, Some(input), &arguments.join(" ")).await
}

/// Runs it, wants exit code 0, gives what it printed.
pub async fn ok(server: &Server, arguments: &[&str]) -> Result<String> {
    let ran = run(server, arguments).await?;
    ensure!(ran.code == Some(0), "hearth {} ended with {:?}: {}", arguments.join(" "), ran.code, ran.stderr);
    Ok(ran.stdout)
}

pub async fn finish(command: Command, input: Option<&str>, what: &str) -> Result<Ran> {
    finish_within(PATIENCE, command, input, what).await
}

/// The same for what takes longer than anything of hearth's own: a distribution's boot.
pub async fn finish_within(deadline: Duration, mut command: Command, input: Option<&str>, what: &str) -> Result<Ran> {
    let mut child = command.spawn().with_context(|| what.to_owned())?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = within(what, deadline, child.wait_with_output()).await??;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
