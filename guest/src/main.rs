//! The guest agent: PID 1 of the initramfs, the keeper of the agent, and the agent, in one static binary. Here: which of them runs.
//!
//! ```text
//!  kernel -> /init, PID 1 (boot) -> moves into the root -> fork
//!               |                                            |
//!               | execs the image's init (stays PID 1)       +-> keeper -> agent (again after each death)
//!               | or, if the image has none: is the keeper
//! ```
//! PID 1 in the root is the image's init, because inits insist on it. Keeper and agent begin their argv with `@`, by which systemd knows
//! processes that it must not end at shutdown (systemd.io/ROOT_STORAGE_DAEMONS).
mod boot;
mod clock;
mod exec;
mod keeper;
mod kmsg;
mod metrics;
mod network;
mod session;
mod shutdown;
mod transport;
mod watched;

use std::process::ExitCode;

/// What the agent may do to the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// It is the guest's agent.
    Machine,
    /// It was started by hand on a machine that is not its own: it runs processes and measures, nothing more.
    Processes,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        _ if std::process::id() == 1 => boot::run(),
        ["--keep"] => keeper::run(),
        ["--port", name] => serve(transport::virtio::Port::new(name), Rights::Machine),
        ["--socket", path] => match transport::socket::Socket::bind(path) {
            Ok(socket) => serve(socket, Rights::Processes),
            Err(error) => {
                kmsg::log(&format!("can't listen on {path}: {error}"));
                ExitCode::FAILURE
            }
        },
        _ => {
            kmsg::log("usage: hearth-agent --socket PATH (inside a guest it is /init and needs no arguments)");
            ExitCode::from(2)
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
