//! Which of the three this process is, by its pid and its arguments, and what it may do.

use crate::{
    boot, keeper, kmsg,
    machine::{Channel, Machine, PORT, PowerOff},
    root_size, session, transport,
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

/// What starts an agent by hand; none of them is a word of a machine's ([`Machine::words`]).
const BY_HAND_SOCKET: &str = "--socket";
const BY_HAND_VSOCK: &str = "--by-hand-vsock";

/// All of the program.
pub fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        _ if std::process::id() == 1 => boot::run(),
        [BY_HAND_SOCKET, path] => listen(transport::socket::bind(path), path, Rights::Processes),
        [BY_HAND_VSOCK, port] => {
            port.parse().map_or_else(|_| usage(), |port| listen(transport::vsock::listen(port), "vsock", Rights::Processes))
        }
        [keeper::KEEP, machine @ ..] => Machine::from_words(machine).map_or_else(usage, keeper::run),
        machine => Machine::from_words(machine).map_or_else(usage, agent),
    }
}

fn usage() -> ExitCode {
    kmsg::log("usage: hearth-agent --socket PATH | --by-hand-vsock PORT (inside a guest it is /init and needs no arguments)");
    ExitCode::from(2)
}

fn agent(machine: Machine) -> ExitCode {
    let rights = Rights::Machine(machine.power_off);
    root_size::keep();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With one of these as its first word the agent of a machine would take itself for one that was started by hand.
    #[test]
    fn no_machine_is_told_by_a_word_of_those_by_hand() {
        for channel in [Channel::Port, Channel::Vsock] {
            for power_off in [PowerOff::Itself, PowerOff::ByRestart] {
                let first = Machine { channel, power_off }.words()[0];
                assert!(![BY_HAND_SOCKET, BY_HAND_VSOCK].contains(&first), "{first}");
            }
        }
    }
}
