//! Which of the three this process is, by its pid and its arguments, and what it may do.

use crate::{boot, keeper, kmsg, session, transport};
use std::process::ExitCode;

/// What the agent may do to the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// It is the guest's agent.
    Machine,
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
        ["--keep"] => keeper::run(),
        ["--port", name] => serve(transport::virtio::Port::new(name), Rights::Machine),
        ["--socket", path] => match transport::socket::bind(path) {
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
