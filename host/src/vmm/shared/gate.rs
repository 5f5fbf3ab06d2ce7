//! The gate: a process that exists, with its final pid, but holds before the VMM's first instruction until hearth lets it go. Owns the
//! fork, the descriptors that the VMM inherits and the hold; does not know what it starts.
//!
//! ```text
//!  hearth                          the new process
//!    fork ------------------------> own session, descriptors, folder; reads the gate
//!    writes down pid, start time       |
//!    one byte  -----------------------> execve: the VMM
//!    (or hearth dies: end of file) ---> ends
//! ```
//! Forked by hand, not by `std::process`: that one's `spawn` returns only after exec, so every held process would keep a thread.

use super::super::VmmError;
use super::{layout::short_or, process};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork, pipe2, write},
};
use std::{
    ffi::CString,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// The first descriptor of [`Program::inherited`] in the new process, after the three standard ones, the gate and the report.
pub const FIRST_INHERITED: i32 = 5;
const GATE: i32 = 3;
const REPORT: i32 = 4;
/// Bound of [`Program::inherited`]; the child may not allocate.
const MOST_INHERITED: usize = 8;
const FIXED: usize = FIRST_INHERITED as usize;
/// Sources are first moved up here, above every target, so that no target overwrites a source. No higher than that: a process may be
/// allowed 64 descriptors.
const ABOVE_TARGETS: i32 = (FIXED + MOST_INHERITED) as i32;
const KEPT: usize = 1 + FIXED + MOST_INHERITED;
const NO_ONE_RELEASED: i32 = 125;
const EXEC_FAILED: i32 = 127;
/// Time from the byte to exec; a page fault or two on a busy machine.
const EXEC_DEADLINE: Duration = Duration::from_secs(10);

/// What is to be started.
pub struct Program {
    pub executable: CString,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
    /// Where it works.
    pub folder: OwnedFd,
    /// Its three standard descriptors: input, output, errors.
    pub standard: [OwnedFd; 3],
    /// Whether it is the first process of a pid namespace of its own, which then ends only on signals that it handles and on SIGKILL, and in a
    /// network namespace of its own, in which there is nothing.
    pub apart: bool,
    /// Become the descriptors [`FIRST_INHERITED`] and up; nothing else of hearth is inherited.
    pub inherited: Vec<OwnedFd>,
}

/// A held process. Dropped, it ends.
#[derive(Debug)]
pub struct Gate {
    opening: OwnedFd,
    report: OwnedFd,
}

/// What the child needs, made before the fork: it may only make system calls.
struct Prepared {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    executable: *const libc::c_char,
    folder: i32,
    sources: [i32; FIXED + MOST_INHERITED],
    count: usize,
    /// The folder and the sources, ascending: all that the child keeps of hearth's descriptors.
    kept: [i32; KEPT],
}

/// Forks and holds. Blocks for the length of a fork.
#[allow(unsafe_code)]
pub fn hold(program: &Program) -> Result<(u32, OwnedFd, Gate), VmmError> {
    let spawn = |what: &str, error: Errno| VmmError::Spawn { detail: format!("{what}: {error}") };
    let (gate, opening) = pipe2(OFlag::O_CLOEXEC).map_err(|error| spawn("pipe", error))?;
    let (report, reporting) = pipe2(OFlag::O_CLOEXEC).map_err(|error| spawn("pipe", error))?;
    let prepared = prepare(program, &gate, &reporting)?;
    // SAFETY: the child calls nothing but `run`, which makes system calls on memory prepared above and never returns.
    let child: Pid = match unsafe { fork_into(program.apart) }.map_err(|error| spawn("fork", error))? {
        ForkResult::Child => unsafe { run(&prepared) },
        ForkResult::Parent { child } => child,
    };
    let pid = child.as_raw() as u32;
    // Cannot be another's pid: our child keeps it until it is reaped, and nobody else reaps it.
    match process::open_pidfd(pid) {
        Ok(pidfd) => Ok((pid, pidfd, Gate { opening, report })),
        Err(error) => {
            // Without its gate it ends at once; nobody but us takes its status.
            drop(opening);
            let _status = waitpid(child, None);
            Err(short_or(&error, VmmError::Spawn { detail: format!("pidfd: {error}") }))
        }
    }
}

/// `fork`, or the same into namespaces of the child's own, which needs the right to make them. A new network takes 0.7 ms.
///
/// # Safety
/// As that of `fork`: the child of a process with threads may only make system calls until it executes something.
#[allow(unsafe_code)]
unsafe fn fork_into(apart: bool) -> Result<ForkResult, Errno> {
    if !apart {
        // SAFETY: the caller's.
        return unsafe { fork() };
    }
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::SIGCHLD;
    // SAFETY: no stack and no pointers are given: the child goes on here on a copy of this stack, as after a fork. What the C library does
    // around its own fork (locks of its allocator) matters to a child that uses it, which the caller's does not.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match Errno::result(child)? {
        0 => Ok(ForkResult::Child),
        child => Ok(ForkResult::Parent { child: Pid::from_raw(child as i32) }),
    }
}

fn prepare(program: &Program, gate: &OwnedFd, reporting: &OwnedFd) -> Result<Prepared, VmmError> {
    if program.inherited.len() > MOST_INHERITED {
        return Err(VmmError::Spawn { detail: "too many descriptors to inherit".into() });
    }
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
    let count = FIXED + program.inherited.len();
    let mut sources = [-1; FIXED + MOST_INHERITED];
    let [input, output, errors] = &program.standard;
    let fixed = [input, output, errors, gate, reporting];
    for (source, fd) in sources.iter_mut().zip(fixed.into_iter().chain(&program.inherited)) {
        *source = fd.as_raw_fd();
    }
    let mut kept = [program.folder.as_raw_fd(); KEPT];
    kept[1..=count].copy_from_slice(&sources[..count]);
    kept.sort_unstable();
    Ok(Prepared {
        argv: pointers(&program.arguments),
        envp: pointers(&program.environment),
        executable: program.executable.as_ptr(),
        folder: program.folder.as_raw_fd(),
        sources,
        count,
        kept,
    })
}

/// The child from fork to exec.
///
/// # Safety
/// Runs between fork and exec of a process with threads: only async-signal-safe calls, no allocation, no lock, no panic.
#[allow(unsafe_code)]
unsafe fn run(prepared: &Prepared) -> ! {
    // SAFETY: plain system calls; pointers come from `Program`, which outlives the fork, and end on null.
    unsafe {
        libc::setsid();
        libc::umask(0o077);
        // Nothing of hearth may live on in a guest's VMM: sockets, journals, other gates. It goes first, so that there is room for copies
        // however much hearth has open.
        let (mut from, mut at) = (0, 0);
        let report = prepared.sources[REPORT as usize];
        while at < KEPT {
            let keep = prepared.kept[at];
            if keep > from && libc::syscall(libc::SYS_close_range, from as u32, (keep - 1) as u32, 0) < 0 {
                give_up(report);
            }
            from = keep + 1;
            at += 1;
        }
        if libc::syscall(libc::SYS_close_range, from as u32, u32::MAX, 0) < 0 || libc::fchdir(prepared.folder) < 0 {
            give_up(report);
        }
        let mut raised = [-1; FIXED + MOST_INHERITED];
        at = 0;
        while at < prepared.count {
            raised[at] = libc::fcntl(prepared.sources[at], libc::F_DUPFD_CLOEXEC, ABOVE_TARGETS);
            if raised[at] < 0 {
                give_up(report);
            }
            at += 1;
        }
        let report = raised[REPORT as usize];
        at = 0;
        while at < prepared.count {
            let target = at as i32;
            // The gate and the report must close at exec: that is the sign that it succeeded.
            let flags = if target == GATE || target == REPORT { libc::O_CLOEXEC } else { 0 };
            if libc::dup3(raised[at], target, flags) < 0 {
                give_up(report);
            }
            at += 1;
        }
        if libc::syscall(libc::SYS_close_range, prepared.count as u32, u32::MAX, 0) < 0
            || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
        {
            give_up(REPORT);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // Rust ignores SIGPIPE, and what is ignored stays so over exec.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut byte = 0_u8;
        loop {
            match libc::read(GATE, (&raw mut byte).cast(), 1) {
                1 => break,
                // hearth is gone, or has thought better of it.
                0 => libc::_exit(NO_ONE_RELEASED),
                _ if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(NO_ONE_RELEASED),
            }
        }
        libc::execve(prepared.executable, prepared.argv.as_ptr(), prepared.envp.as_ptr());
        give_up(REPORT)
    }
}

/// # Safety
/// As [`run`].
#[allow(unsafe_code)]
unsafe fn give_up(report: i32) -> ! {
    // SAFETY: writes four bytes of its own stack to the report.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(report, (&raw const errno).cast(), size_of::<i32>());
        libc::_exit(EXEC_FAILED)
    }
}

impl Gate {
    /// Lets the process run; returns when the VMM's program is in it.
    pub async fn release(self) -> Result<(), VmmError> {
        let spawn = |error: std::io::Error| VmmError::Spawn { detail: error.to_string() };
        // A broken pipe means that the process has ended; the report says why.
        let _released = write(&self.opening, b"r");
        let mut report = pipe::Receiver::from_owned_fd(self.report).map_err(spawn)?;
        let mut errno = Vec::new();
        match tokio::time::timeout(EXEC_DEADLINE, report.read_to_end(&mut errno)).await {
            Err(_) => Err(VmmError::Timeout { call: "exec", after_ms: EXEC_DEADLINE.as_millis() as u64 }),
            Ok(Err(error)) => Err(spawn(error)),
            Ok(Ok(_)) => match errno.try_into().map(i32::from_ne_bytes) {
                Ok(errno) => Err(VmmError::Spawn { detail: std::io::Error::from_raw_os_error(errno).to_string() }),
                Err(_) => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::alone::{alone, descriptors};
    use super::*;
    use std::{fs::File, path::Path};

    fn program(folder: &Path) -> Program {
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        Program {
            executable: CString::new("/bin/true").unwrap(),
            arguments: vec![CString::new("true").unwrap()],
            environment: vec![],
            folder: File::open(folder).unwrap().into(),
            standard: [null(), null(), null()],
            apart: false,
            inherited: (0..4).map(|_| null()).collect(),
        }
    }

    #[test]
    fn sixty_four_descriptors_are_enough_with_most_of_them_in_use() {
        if !alone("vmm::shared::gate::tests::sixty_four_descriptors_are_enough_with_most_of_them_in_use") {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let before = descriptors(64);
        // Until there is no more, less what a launch takes.
        let mut held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        held.truncate(held.len() - 14);
        runtime.block_on(async {
            let folder = std::env::temp_dir();
            let (_, pidfd, gate) = hold(&program(&folder)).unwrap();
            gate.release().await.unwrap();
            process::reap_when_gone(&pidfd);
        });
        descriptors(before);
    }

    #[tokio::test]
    async fn what_cannot_be_run_says_why() {
        let mut wrong = program(&std::env::temp_dir());
        wrong.executable = CString::new("/nowhere/qemu").unwrap();
        let (_, pidfd, gate) = hold(&wrong).unwrap();
        let refused = gate.release().await;
        assert!(matches!(&refused, Err(VmmError::Spawn { detail }) if detail.contains("No such file")), "{refused:?}");
        process::reap_when_gone(&pidfd);
    }
}
