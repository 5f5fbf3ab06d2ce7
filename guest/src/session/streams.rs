//! The execs and connections of one session by their ids. Dropping it ends them all, processes by the grace that the protocol promises.
use super::Outbox;
use crate::{
    connection,
    exec::{self, Process},
};
use api::guest::{
    AgentMessage, ErrorCode, ExecRequest, GuestError, MAX_CONNECTIONS, MAX_STREAMS, OUTPUT_WINDOW, STDIN_WINDOW, Stdin, TtySize,
    credit_cost,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

thread_local! {
    /// Running execs of all sessions: those of a lost one count until they are gone.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
    /// Connections of all sessions that are open or being opened.
    static CONNECTED: Cell<usize> = const { Cell::new(0) };
}

pub struct Streams {
    outbox: Outbox,
    open: Rc<RefCell<HashMap<u32, Stream>>>,
}

struct Stream {
    stdin: mpsc::UnboundedSender<Vec<u8>>,
    /// What the host may still send; kept by both ends.
    window: Rc<Cell<u32>>,
    output: Rc<Semaphore>,
    /// None behind a connection.
    process: Option<Process>,
    /// Dropped with the stream, which its task notices.
    _alive: oneshot::Sender<()>,
}

impl Streams {
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox, open: Rc::default() }
    }

    /// Starts the process; its output begins when the sender that is given back is used.
    pub fn open(&mut self, id: u32, request: &ExecRequest) -> Result<(AgentMessage, oneshot::Sender<()>), GuestError> {
        self.is_new(id)?;
        if RUNNING.get() >= MAX_STREAMS {
            return Err(GuestError::new(
                ErrorCode::Busy,
                format!("the agent runs {MAX_STREAMS} processes already; end one first"),
            ));
        }
        let started = exec::start(request)?;
        let process = started.process.clone();
        let (stdin, input) = mpsc::unbounded_channel();
        let (alive, lost) = oneshot::channel();
        let (go, begin) = oneshot::channel();
        let window = Rc::new(Cell::new(STDIN_WINDOW));
        let output = Rc::new(Semaphore::new(OUTPUT_WINDOW as usize));
        let job = exec::Job {
            id,
            started,
            outbox: self.outbox.clone(),
            credit: Rc::clone(&output),
            input,
            input_window: Rc::clone(&window),
            begin,
            lost,
        };
        let stdin_credit = if request.stdin == Stdin::Stream || request.tty.is_some() { STDIN_WINDOW } else { 0 };
        let message = AgentMessage::Started { pid: process.pid(), stdin_credit };
        self.open.borrow_mut().insert(id, Stream { stdin, window, output, process: Some(process), _alive: alive });
        let open = Rc::downgrade(&self.open);
        RUNNING.set(RUNNING.get() + 1);
        tokio::task::spawn_local(async move {
            exec::run(job).await;
            RUNNING.set(RUNNING.get() - 1);
            if let Some(open) = open.upgrade() {
                open.borrow_mut().remove(&id);
            }
        });
        Ok((message, go))
    }

    /// Begins to connect to a port of the guest's; what comes of it is answered by the connection's own task.
    pub fn connect(&mut self, id: u32, port: u16) -> Result<(), GuestError> {
        self.is_new(id)?;
        if CONNECTED.get() >= MAX_CONNECTIONS {
            let detail = format!("the agent holds {MAX_CONNECTIONS} connections already; close one first");
            return Err(GuestError::new(ErrorCode::Busy, detail));
        }
        let (stdin, input) = mpsc::unbounded_channel();
        let (alive, lost) = oneshot::channel();
        let input_window = Rc::new(Cell::new(STDIN_WINDOW));
        let credit = Rc::new(Semaphore::new(OUTPUT_WINDOW as usize));
        let (window, output) = (Rc::clone(&input_window), Rc::clone(&credit));
        let job = connection::Job { id, port, outbox: self.outbox.clone(), credit, input, input_window, lost };
        self.open.borrow_mut().insert(id, Stream { stdin, window, output, process: None, _alive: alive });
        let open = Rc::downgrade(&self.open);
        CONNECTED.set(CONNECTED.get() + 1);
        tokio::task::spawn_local(async move {
            connection::run(job).await;
            CONNECTED.set(CONNECTED.get() - 1);
            if let Some(open) = open.upgrade() {
                open.borrow_mut().remove(&id);
            }
        });
        Ok(())
    }

    fn is_new(&self, id: u32) -> Result<(), GuestError> {
        if id == 0 || self.open.borrow().contains_key(&id) {
            return Err(GuestError::new(ErrorCode::InvalidRequest, "a stream needs an id of its own"));
        }
        Ok(())
    }

    /// A host that sends beyond its credit loses the stream.
    pub fn stdin(&mut self, id: u32, bytes: Vec<u8>) {
        let within =
            self.open.borrow().get(&id).is_none_or(|stream| match stream.window.get().checked_sub(credit_cost(bytes.len())) {
                Some(left) => {
                    stream.window.set(left);
                    // A process that no longer reads is no error of the host's.
                    let _ = stream.stdin.send(bytes);
                    true
                }
                None => false,
            });
        if !within {
            self.close(id);
        }
    }

    pub fn credit(&mut self, id: u32, amount: Option<u32>) {
        if let (Some(stream), Some(amount)) = (self.open.borrow().get(&id), amount) {
            // Never more than the window: a host that miscounts must not make us hold more.
            let room = (OUTPUT_WINDOW as usize).saturating_sub(stream.output.available_permits());
            stream.output.add_permits(room.min(amount as usize));
        }
    }

    pub fn resize(&mut self, id: u32, size: TtySize) -> Result<(), GuestError> {
        self.with(id, |process| process.resize(size))
    }

    pub fn signal(&mut self, id: u32, signal: i32) -> Result<(), GuestError> {
        self.with(id, |process| process.signal(signal))
    }

    pub fn close(&mut self, id: u32) {
        self.open.borrow_mut().remove(&id);
    }

    /// A stream that has just ended by itself is no error: the host could not know.
    fn with(&self, id: u32, act: impl FnOnce(&Process) -> Result<(), GuestError>) -> Result<(), GuestError> {
        match self.open.borrow().get(&id) {
            None => Ok(()),
            Some(Stream { process: Some(process), .. }) => act(process),
            Some(_) => Err(GuestError::new(ErrorCode::InvalidRequest, "a connection has no process")),
        }
    }
}
