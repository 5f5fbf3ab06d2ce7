//! Which of the three this process is, by its pid and its arguments, and what it may do.

use crate::{
    boot, keeper, kmsg,
    machine::{Channel, Machine, PORT, PowerOff},
    session, transport,
};
use api::guest::VSOCK_PORT;
use std::{io, process::ExitCode};

/// What the agent may do to the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// It is the guest's agent. The machine is switched off in this way.
    Machine(PowerOff),
    /// It was started by hand on a machine that is not its own: it runs processes and measures, nothing more.
    Processes,
    /// What it is told is anybody's invention: it must do nothing at all.
    #[cfg(any(test, fuzzing))]
    Nothing,
}

/// All of the program.
pub fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        _ if std::process::id() == 1 => boot::run(),
        ["--socket", path] => listen(transport::socket::bind(path), path, Rights::Processes),
        ["--vsock", port] => {
            port.parse().map_or_else(|_| usage(), |port| listen(transport::vsock::listen(port), "vsock", Rights::Processes))
        }
        [keeper::KEEP, machine @ ..] => Machine::from_words(machine).map_or_else(usage, keeper::run),
        machine => Machine::from_words(machine).map_or_else(usage, agent),
    }
}

fn usage() -> ExitCode {
    kmsg::log("usage: hearth-agent --socket PATH | --vsock PORT (inside a guest it is /init and needs no arguments)");
    ExitCode::from(2)
}

fn agent(machine: Machine) -> ExitCode {
    let rights = Rights::Machine(machine.power_off);
    match machine.channel {
        Channel::Port => serve(transport::virtio::Port::new(PORT), rights),
        Channel::Vsock => listen(transport::vsock::listen(VSOCK_PORT), "vsock", rights),
    }
}

fn listen(listener: io::Result<impl transport::Transport>, place: &str, rights: Rights) -> ExitCode {
    match listener {
        Ok(listener) => serve(listener, rights),
        Err(error) => {
            kmsg::log(&format!("can't listen on {place}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(transport: impl transport::Transport, rights: Rights) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            kmsg::log(&format!("the agent can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let local = tokio::task::LocalSet::new();
    let error = local.block_on(&runtime, session::serve(transport, rights));
    kmsg::log(&format!("the agent ends: {error}"));
    ExitCode::FAILURE
}
