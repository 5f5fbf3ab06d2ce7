//! Pauses of machines of several releases, by a driver that found another one. A sleeping process stands for Firecracker, and a task for its API.

use super::super::{files, stage};
use super::*;
use crate::vmm::{Vmm, shared::process};
use domain::{
    Attempt,
    vm::{Driver, Inspection},
};
use std::{
    process::{Child, Command},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

struct Sleeping(Child);

impl Drop for Sleeping {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Answers one call after the other, and is in the state that it was last told.
async fn serve(mut stream: UnixStream, state: Arc<Mutex<&'static str>>) {
    let (mut request, mut buffer) = (String::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
        let answer = match request.split(' ').next() {
            Some("GET") if request.ends_with("\r\n\r\n") => {
                let state = *state.lock().unwrap();
                let body = format!("{{\"app_name\":\"f\",\"id\":\"a\",\"state\":\"{state}\",\"vmm_version\":\"1\"}}");
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            Some("PATCH") if request.ends_with('}') => {
                *state.lock().unwrap() = if request.contains("Paused") { "Paused" } else { "Running" };
                "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
            }
            _ => continue,
        };
        request.clear();
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A machine of that release that runs, and the driver of a hearth that found another.
struct Stage {
    driver: Firecracker,
    vm: VmId,
    machine: Machine,
    _data: tempfile::TempDir,
    _process: Sleeping,
}

impl Stage {
    async fn new(installed: &str, runs: &str) -> Stage {
        let data = tempfile::tempdir().unwrap();
        let older = data.path().join("old/firecracker");
        stage::install(&crate::doctor::programs::find("sleep").unwrap().canonicalize().unwrap(), &older);
        let driver = stage::driver(data.path(), installed).await;
        let process = Sleeping(Command::new(&older).arg("600").spawn().unwrap());
        let (vm, pid) = (VmId::from_bits(rand::random()), process.0.id());
        let start_ticks = process::stat(pid).unwrap().start_ticks;
        let executable = older.to_string_lossy().into_owned();
        let machine =
            Machine { launch: Attempt(1), driver: Driver::Firecracker, pid, start_ticks, executable, version: runs.to_owned() };
        let room = driver.inner.room(vm);
        std::fs::create_dir_all(&room).unwrap();
        let (api, state) = (UnixListener::bind(room.join(files::API_SOCKET)).unwrap(), Arc::new(Mutex::new("Running")));
        tokio::spawn(async move {
            while let Ok((stream, _from)) = api.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&state)));
            }
        });
        Stage { driver, vm, machine, _data: data, _process: process }
    }

    async fn is(&self, state: Inspection) {
        assert_eq!(self.driver.inspect(self.vm, &self.machine).await.unwrap(), state);
    }
}

#[tokio::test]
async fn a_machine_that_would_lose_its_agent_is_paused_for_a_snapshot_only() {
    for installed in ["1.16.1", "1.17.0"] {
        let stage = Stage::new(installed, "1.16.1").await;
        let (driver, vm, machine) = (&stage.driver, stage.vm, &stage.machine);
        let refused = driver.pause(vm, machine).await.unwrap_err();
        assert!(matches!(&refused, VmmError::Refused { call: "pause", .. }), "{refused:?}");
        let told = refused.to_string();
        assert!(
            told.contains("Firecracker 1.16.1") && told.contains("install a release after 1.16.1, then stop and start"),
            "{told}"
        );
        stage.is(Inspection::Running).await;
        driver.pause_for_snapshot(vm, machine).await.unwrap();
        stage.is(Inspection::Paused).await;
        driver.pause(vm, machine).await.expect("paused is paused, however it came to it");
        driver.resume(vm, machine).await.expect("what stands goes on");
        stage.is(Inspection::Running).await;
    }
}

#[tokio::test]
async fn a_machine_that_bears_a_pause_is_paused_whatever_is_installed_by_now() {
    let stage = Stage::new("1.16.1", "1.15.0").await;
    assert!(!stage.driver.capabilities().pause, "the next start would not bear it, so none is offered");
    assert!(
        stage.driver.problems().iter().any(|told| told.contains("Firecracker 1.16.1 loses")),
        "{:?}",
        stage.driver.problems()
    );
    stage.driver.pause(stage.vm, &stage.machine).await.unwrap();
    stage.is(Inspection::Paused).await;
    stage.driver.resume(stage.vm, &stage.machine).await.unwrap();
    stage.is(Inspection::Running).await;
}
