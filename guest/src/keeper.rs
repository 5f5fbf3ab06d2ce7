//! Keeps the agent alive, and reaps. Runs beside the image's init, or as PID 1 where there is none. Does nothing else, so that nothing
//! in it can fail.
use crate::{kmsg, machine::Machine};
use nix::{
    errno::Errno,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, execv, fork, setsid},
};
use std::{ffi::CString, process::ExitCode, time::Duration};

/// An agent that dies at once must not take the guest's CPU with it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// systemd lets processes whose first word begins so alone at shutdown.
const NAME: &str = "@hearth-agent";
/// Before the machine's words: the keeper, not the agent.
pub const KEEP: &str = "--keep";

/// Makes the keeper, beside the image's init.
pub fn start(machine: Machine) -> nix::Result<Pid> {
    become_other(&[vec![NAME, KEEP], machine.words()].concat())
}

/// Never returns but when processes can't be made any more.
pub fn run(machine: Machine) -> ExitCode {
    let _ = setsid();
    // The last thing that a guest out of memory should lose is the way to it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let mut pause = FIRST_PAUSE;
    loop {
        let born = std::time::Instant::now();
        match become_other(&[vec![NAME], machine.words()].concat()) {
            Ok(agent) => wait_for(agent),
            Err(error) => kmsg::log(&format!("the agent can't be started: {error}")),
        }
        if born.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Forks, and executes this very program in the child with other words.
fn become_other(words: &[&str]) -> nix::Result<Pid> {
    let words: Vec<CString> = words.iter().filter_map(|word| CString::new(*word).ok()).collect();
    #[allow(unsafe_code)]
    // SAFETY: PID 1 and the keeper have one thread, so the child finds no lock held.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let failed = execv(c"/proc/self/exe", &words);
            kmsg::log(&format!("/proc/self/exe can't be executed: {failed:?}"));
            std::process::exit(127);
        }
    }
}

/// Reaps whatever ends until `agent` does.
fn wait_for(agent: Pid) {
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == agent => return kmsg::log(&format!("the agent ended with {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == agent => {
                return kmsg::log(&format!("the agent was ended by {signal}"));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
