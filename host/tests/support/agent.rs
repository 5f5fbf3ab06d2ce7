//! The agent as a process of its own behind a unix socket, as tests have it.

use host::guest::Guest;
use std::{
    path::PathBuf,
    process::{Child, Command},
    sync::OnceLock,
    time::Duration,
};
use tokio::{net::UnixStream, time::timeout};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// Built once: the agent is a workspace of its own, so cargo does not do it for these tests.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let guest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guest");
        let done = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet"])
            .current_dir(&guest)
            // The outer cargo's own settings are not meant for this build.
            .env_remove("CARGO_TARGET_DIR")
            .status()
            .unwrap();
        assert!(done.success(), "the agent does not build");
        guest.join("target/debug/hearth-agent")
    })
}

/// Ended with the test.
pub struct Agent {
    pub child: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Agent {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let child = Command::new(program()).arg("--socket").arg(&socket).spawn().unwrap();
        let agent = Self { child, socket, _folder: folder };
        drop(agent.stream().await);
        agent
    }

    pub async fn stream(&self) -> UnixStream {
        timeout(DEADLINE, async {
            loop {
                match UnixStream::connect(&self.socket).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await
        .expect("the agent listens")
    }

    pub async fn guest(&self) -> Guest {
        Guest::connect(self.stream().await, DEADLINE).await.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
