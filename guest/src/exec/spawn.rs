//! Starting a process: its account, environment, folder, terminal or pipes. Each leads a session and a process group of its own.
use super::{account::Account, pty};
use api::guest::{ErrorCode, ExecRequest, GuestError, Stdin, TtySize};
use std::{
    ffi::CString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::Stdio,
};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process that runs, with the ends of its bytes.
pub struct Started {
    pub child: Child,
    pub process: Process,
    pub input: Input,
    /// Standard output, then standard error; or the terminal alone.
    pub outputs: Vec<Output>,
}

pub enum Input {
    None,
    Pipe(ChildStdin),
    Terminal(pty::Terminal),
}

pub enum Output {
    Stdout(ChildStdout),
    Stderr(ChildStderr),
    Terminal(pty::Terminal),
}

/// What can be done to it from outside.
#[derive(Clone)]
pub struct Process {
    group: i32,
    terminal: Option<pty::Terminal>,
}

impl Process {
    pub const fn pid(&self) -> u32 {
        self.group.cast_unsigned()
    }

    /// To the whole group. A group that has gone is no error.
    pub fn signal(&self, signal: i32) -> Result<(), GuestError> {
        #[allow(unsafe_code)]
        // SAFETY: killpg takes numbers only; the kernel checks them.
        let done = unsafe { libc::killpg(self.group, signal) };
        let error = io::Error::last_os_error();
        match (done, error.raw_os_error()) {
            (0, _) | (_, Some(libc::ESRCH)) => Ok(()),
            (_, Some(libc::EINVAL)) => Err(GuestError::new(ErrorCode::InvalidRequest, format!("no signal {signal}"))),
            _ => Err(failed("the signal can't be sent", &error)),
        }
    }

    pub fn resize(&self, size: TtySize) -> Result<(), GuestError> {
        match &self.terminal {
            Some(terminal) => terminal.resize(size).map_err(|error| failed("the terminal can't be resized", &error)),
            None => Err(GuestError::new(ErrorCode::InvalidRequest, "this exec has no terminal")),
        }
    }
}

pub fn start(request: &ExecRequest) -> Result<Started, GuestError> {
    if request.stdin == Stdin::Unknown {
        return Err(GuestError::new(ErrorCode::Unsupported, "this agent does not know that origin of input"));
    }
    let account = Account::find(request.user.as_deref())?;
    let mut command = command(request, &account)?;
    let terminal = match request.tty {
        Some(size) => Some(pty::open(size).map_err(|error| failed("no terminal can be had", &error))?),
        None => None,
    };
    let terminal = match terminal {
        Some((terminal, slave)) => {
            on_terminal(&mut command, slave).map_err(|error| failed("no terminal can be had", &error))?;
            Some(terminal)
        }
        None => {
            command.stdin(if request.stdin == Stdin::Stream { Stdio::piped() } else { Stdio::null() });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        }
    };
    lead_session(&mut command, &account, request.user.is_some(), terminal.is_some());
    let mut child = Command::from(command).spawn().map_err(|error| not_started(request, &account, &error))?;
    let group = child.id().map_or(0, |pid| pid as i32);
    let process = Process { group, terminal: terminal.clone() };
    let (input, outputs) = match terminal {
        Some(terminal) => (Input::Terminal(terminal.clone()), vec![Output::Terminal(terminal)]),
        None => (
            child.stdin.take().map_or(Input::None, Input::Pipe),
            child.stdout.take().map(Output::Stdout).into_iter().chain(child.stderr.take().map(Output::Stderr)).collect(),
        ),
    };
    Ok(Started { child, process, input, outputs })
}

fn command(request: &ExecRequest, account: &Account) -> Result<std::process::Command, GuestError> {
    let asked = |name: &str| request.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let mut command = match request.argv.split_first() {
        Some((program, arguments)) => {
            let mut command = std::process::Command::new(find(program, asked("PATH").unwrap_or(PATH)));
            command.arg0(program).args(arguments);
            command
        }
        // The dash makes it a login shell.
        None => {
            let mut command = std::process::Command::new(&account.shell);
            let name = Path::new(&account.shell).file_name().unwrap_or_default().to_string_lossy();
            command.arg0(format!("-{name}"));
            command
        }
    };
    command.env_clear().env("PATH", PATH).env("HOME", &account.home).env("USER", &account.name).env("SHELL", &account.shell);
    command.env("LOGNAME", &account.name);
    if request.tty.is_some() {
        command.env("TERM", "xterm-256color");
    }
    for (name, value) in &request.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(GuestError::new(ErrorCode::InvalidRequest, "an environment variable with an impossible name or value"));
        }
        command.env(name, value);
    }
    let folder = match request.cwd.as_deref() {
        Some(folder) if Path::new(folder).is_dir() => folder,
        Some(folder) => return Err(GuestError::new(ErrorCode::NotFound, format!("no folder {folder} in the guest"))),
        None if Path::new(&account.home).is_dir() => account.home.as_str(),
        None => "/",
    };
    command.current_dir(folder);
    Ok(command)
}

/// The program by the PATH that it will see, not by ours. What is not found is left to exec to refuse.
fn find(program: &str, path: &str) -> std::path::PathBuf {
    if program.contains('/') {
        return program.into();
    }
    let places = path.split(':').map(|folder| Path::new(folder).join(program));
    places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| Path::new(PATH_MISS).join(program))
}

/// A folder that can't be, so that a name without a slash is not looked up in the agent's own PATH.
const PATH_MISS: &str = "/proc/self/not-in-path";

fn on_terminal(command: &mut std::process::Command, slave: OwnedFd) -> io::Result<()> {
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    Ok(())
}

fn lead_session(command: &mut std::process::Command, account: &Account, change_user: bool, terminal: bool) {
    let (uid, gid) = (account.uid, account.gid);
    let mut groups = account.groups.clone();
    groups.push(gid);
    let name = CString::new("0").unwrap_or_default();
    #[allow(unsafe_code)]
    // SAFETY: between fork and exec only system calls are made, on values that were allocated before.
    unsafe {
        command.pre_exec(move || {
            check(libc::setsid())?;
            if terminal {
                check(libc::ioctl(0, libc::TIOCSCTTY as _, 0))?;
            }
            // The agent is spared when memory runs out; what it runs is not.
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file >= 0 {
                libc::write(file, name.as_ptr().cast(), 1);
                libc::close(file);
            }
            if change_user {
                check(libc::setgroups(groups.len(), groups.as_ptr()))?;
                check(libc::setgid(gid))?;
                check(libc::setuid(uid))?;
            }
            Ok(())
        });
    }
}

fn check(done: libc::c_int) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn not_started(request: &ExecRequest, account: &Account, error: &io::Error) -> GuestError {
    let program = request.argv.first().map_or(account.shell.as_str(), String::as_str);
    failed(&format!("{program} can't be run"), error)
}

fn failed(what: &str, error: &io::Error) -> GuestError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => ErrorCode::NotFound,
        io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
        io::ErrorKind::InvalidInput => ErrorCode::InvalidRequest,
        _ => ErrorCode::Failed,
    };
    GuestError::new(code, format!("{what}: {error}"))
}
