//! Users who do random things, from a seed, and write down what they were told: the ledger that the checker holds hearth to.
//!
//! Each user has VMs of its own, whose names are never used twice, and asks one thing after the other. So it knows what must be admitted: on a
//! machine on which nothing may fail, every refusal is an error. After a crash it asks again, under the same keys, for what was not
//! answered, and for some of what was: that must be answered with the same operation.
//!
//! Randomness decides what is asked, not what comes of it: the same seed gives the same wishes, while the moment of a kill among them depends
//! on the machine.

use crate::dice::Dice;
use anyhow::{Context, Result, ensure};
use api::{
    client::{Accepted, Client, ClientError, Options},
    problem::Problem,
    v1::{CreateVm, Labels, StopRequest, Vm, VmSpec, VmState},
};
use checker::{
    Failures,
    ledger::{Entry, What, Writer},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// What a guest may take for its own shutdown before it is ended.
const SHUTDOWN_S: u32 = 5;

/// Who asks how much.
#[derive(Debug, Clone)]
pub struct Load {
    pub users: u64,
    /// VMs of one user at a time.
    pub most: usize,
    pub spec: VmSpec,
    /// How long a user waits for the end of one operation before he turns to another VM.
    pub patience: Duration,
}

/// How much was asked and heard; what a run prints of itself.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub asked: u64,
    pub acknowledged: u64,
    /// Asked again after a crash.
    pub repeated: u64,
}

/// One who asks things of hearth until told to stop.
pub struct User {
    name: String,
    client: Client,
    dice: Dice,
    load: Load,
    failures: Failures,
    made: u64,
    /// Its VMs and where they are, as far as it knows; absent: it was not answered, and leaves it alone.
    vms: BTreeMap<String, Option<VmState>>,
    /// Since the last time that all was at rest.
    requests: Vec<Request>,
    ledger: Ledger,
    pub counts: Counts,
}

/// What is written by several users.
#[derive(Clone)]
pub struct Ledger {
    writer: Arc<Mutex<Writer>>,
    refusals: Arc<Mutex<Vec<Problem>>>,
}

impl Ledger {
    pub fn open(path: &Path) -> Result<Ledger> {
        Ok(Ledger { writer: Arc::new(Mutex::new(Writer::open(path)?)), refusals: Arc::default() })
    }

    fn write(&self, name: &str, what: What) -> Result<()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).write(&Entry { name: name.to_owned(), what })
    }

    /// Every problem that a user was answered with, or that an operation of his met.
    pub fn refusals(&self) -> Vec<Problem> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refused(&self, error: &ClientError) {
        if let ClientError::Problem(problem) = error {
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push((**problem).clone());
        }
    }
}

#[derive(Debug, Clone)]
struct Request {
    vm: String,
    wish: Wish,
    key: String,
    heard: Heard,
}

#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Nothing,
    Accepted { operation: Option<String> },
    Refused,
}

/// What can be asked of a VM.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wish {
    Create { start: bool },
    Start,
    Stop { force: bool },
    Pause,
    Resume,
    Reboot { force: bool },
    Delete,
}

impl Wish {
    fn leads_to(self) -> Option<VmState> {
        match self {
            Wish::Start | Wish::Resume | Wish::Reboot { .. } | Wish::Create { start: true } => Some(VmState::Running),
            Wish::Create { start: false } => Some(VmState::Created),
            Wish::Stop { .. } => Some(VmState::Stopped),
            Wish::Pause => Some(VmState::Paused),
            Wish::Delete => None,
        }
    }

    /// What a VM in that state must admit.
    fn of(state: VmState) -> &'static [Wish] {
        const STOP: [Wish; 2] = [Wish::Stop { force: true }, Wish::Stop { force: false }];
        match state {
            VmState::Running => &[
                STOP[0],
                STOP[1],
                Wish::Pause,
                Wish::Pause,
                Wish::Reboot { force: true },
                Wish::Reboot { force: false },
                Wish::Delete,
            ],
            VmState::Paused => &[Wish::Resume, Wish::Resume, STOP[0], Wish::Delete],
            VmState::Created | VmState::Stopped => &[Wish::Start, Wish::Start, Wish::Start, Wish::Delete],
            VmState::Failed => &[Wish::Start, Wish::Delete],
            _ => &[],
        }
    }
}

impl User {
    pub fn new(name: String, client: Client, seed: u64, load: Load, failures: Failures, ledger: Ledger) -> User {
        User {
            name,
            client,
            dice: Dice::new(seed),
            load,
            failures,
            made: 0,
            vms: BTreeMap::new(),
            requests: Vec::new(),
            ledger,
            counts: Counts::default(),
        }
    }

    /// One thing after the other. Whatever is not answered is left open.
    ///
    /// Errors: a refusal of what must be admitted, a ledger that can't be written.
    pub async fn go(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        while !*stop.borrow() {
            tokio::select! {
                done = self.act() => done?,
                _ = stop.changed() => return Ok(()),
            }
        }
        Ok(())
    }

    async fn act(&mut self) -> Result<()> {
        let (vm, wish) = match self.choose() {
            Some((vm, state)) => match Wish::of(state) {
                [] => {
                    self.vms.insert(vm, None);
                    return Ok(());
                }
                wishes => (vm, *self.dice.pick(wishes)),
            },
            None if self.vms.len() < self.load.most => {
                self.made += 1;
                (format!("{}-{}", self.name, self.made), Wish::Create { start: self.dice.below(3) > 0 })
            }
            // Nobody answered for any of them; the next round sorts that out.
            None => return std::future::pending().await,
        };
        let key = format!("{}-{:016x}", self.name, self.dice.roll());
        self.requests.push(Request { vm: vm.clone(), wish, key: key.clone(), heard: Heard::Nothing });
        // Until there is an answer, nobody knows.
        self.vms.insert(vm.clone(), None);
        let leads_to = wish.leads_to().map(|state| state.as_str().to_owned());
        self.ledger.write(&vm, What::Asked { leads_to })?;
        self.counts.asked += 1;
        let answer = self.ask(&vm, wish, &key).await;
        let Some(accepted) = self.hear(self.requests.len() - 1, answer)? else { return self.pause().await };
        // Some wait for the end, some go on and find out later.
        if self.dice.below(4) > 0 { self.follow(&vm, wish, accepted.operation).await } else { Ok(()) }
    }

    /// One of its VMs that nothing is on the way of, or, with `None`, a new one.
    fn choose(&mut self) -> Option<(String, VmState)> {
        let idle: Vec<_> = self.vms.iter().filter_map(|(name, state)| Some((name.clone(), (*state)?))).collect();
        let room = self.vms.len() < self.load.most;
        let another = idle.is_empty() || (room && self.dice.below(3) == 0);
        (!another).then(|| self.dice.pick(&idle).clone())
    }

    async fn ask(&self, vm: &str, wish: Wish, key: &str) -> Result<Accepted<Vm>, ClientError> {
        let vms = self.client.vms();
        let options = Options { idempotency_key: Some(key.to_owned()), ..Options::default() };
        let stop = |force| StopRequest { force, deadline_s: Some(SHUTDOWN_S) };
        match wish {
            Wish::Create { start } => {
                let (name, spec) = (Some(vm.to_owned()), self.load.spec.clone());
                vms.create(&CreateVm { name, project: None, labels: Labels::new(), spec, start }, &options).await
            }
            Wish::Start => vms.start(vm, &options).await,
            Wish::Stop { force } => vms.stop(vm, &stop(force), &options).await,
            Wish::Pause => vms.pause(vm, &options).await,
            Wish::Resume => vms.resume(vm, &options).await,
            Wish::Reboot { force } => vms.reboot(vm, &stop(force), &options).await,
            // Has no key: repeated, it is refused when it is done or under way.
            Wish::Delete => vms.delete(vm, true, &Options::default()).await,
        }
    }

    /// Writes the answer down. `None`: there was none, or it was a refusal.
    fn hear(&mut self, request: usize, answer: Result<Accepted<Vm>, ClientError>) -> Result<Option<Accepted<Vm>>> {
        let Request { vm, wish, .. } = self.requests[request].clone();
        if let Err(error) = &answer {
            self.ledger.refused(error);
        }
        match answer {
            Ok(accepted) => {
                let id = accepted.resource.as_ref().map(|vm| vm.id.clone());
                self.ledger.write(&vm, What::Accepted { id, operation: accepted.operation.clone() })?;
                self.requests[request].heard = Heard::Accepted { operation: accepted.operation.clone() };
                self.counts.acknowledged += 1;
                Ok(Some(accepted))
            }
            Err(ClientError::Problem(problem)) if problem.status < 500 || problem.status == 507 => {
                ensure!(self.failures != Failures::Found, "{vm} must admit {wish:?}: {problem:?}");
                self.requests[request].heard = Heard::Refused;
                self.ledger.write(&vm, What::Refused)?;
                Ok(None)
            }
            // It may have been carried out, or not.
            Err(_) => Ok(None),
        }
    }

    async fn follow(&mut self, vm: &str, wish: Wish, operation: Option<String>) -> Result<()> {
        let Some(operation) = operation else { return Ok(()) };
        match self.client.follow(&operation, self.load.patience, |_| {}).await {
            Ok(_) => {
                self.ledger.write(vm, What::Ended { succeeded: true })?;
                match wish.leads_to() {
                    Some(state) => self.vms.insert(vm.to_owned(), Some(state)),
                    None => self.vms.remove(vm),
                };
                Ok(())
            }
            // What became of it is for the checker to say.
            Err(error) => {
                self.ledger.refused(&error);
                self.pause().await
            }
        }
    }

    /// Not again in the same moment.
    async fn pause(&mut self) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    /// After a crash: half of what was not answered is asked again, and a part of what was.
    pub async fn repeat(&mut self) -> Result<()> {
        for at in 0..self.requests.len() {
            let request = self.requests[at].clone();
            match request.heard {
                Heard::Nothing if self.dice.below(2) == 0 => self.repeat_unheard(at, &request).await?,
                Heard::Accepted { .. } if request.wish != Wish::Delete && self.dice.below(4) == 0 => {
                    self.repeat_heard(&request).await?
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn repeat_unheard(&mut self, at: usize, request: &Request) -> Result<()> {
        self.counts.repeated += 1;
        match self.ask(&request.vm, request.wish, &request.key).await {
            // It had arrived: the VM is gone, or on its way.
            Err(ClientError::Problem(problem))
                if request.wish == Wish::Delete && ["vm-not-found", "vm-deleting"].contains(&problem.code.as_str()) =>
            {
                self.ledger.write(&request.vm, What::Accepted { id: None, operation: None })
            }
            answer => self.hear(at, answer).map(drop),
        }
    }

    async fn repeat_heard(&mut self, request: &Request) -> Result<()> {
        self.counts.repeated += 1;
        match self.ask(&request.vm, request.wish, &request.key).await {
            Ok(again) => {
                let now = Heard::Accepted { operation: again.operation };
                ensure!(now == request.heard, "the same key twice has two effects: {request:?}, and now {now:?}");
                Ok(())
            }
            // It was carried out, and deleted since.
            Err(ClientError::Problem(problem)) if problem.code == "gone-since" => Ok(()),
            Err(error) if self.failures == Failures::Found => Err(error).with_context(|| format!("{request:?} again")),
            Err(_) => Ok(()),
        }
    }

    /// After a round, when all has come to rest and was checked: what is there is known again, and written down.
    pub async fn take_stock(&mut self) -> Result<()> {
        self.requests.clear();
        for name in self.vms.keys().cloned().collect::<Vec<_>>() {
            let found = match self.client.vms().get(&name).await {
                Ok(vm) => Some(vm.status.state),
                Err(ClientError::Problem(problem)) if problem.status == 404 => None,
                Err(error) => return Err(error.into()),
            };
            self.ledger.write(&name, What::Is { state: found.map(|state| state.as_str().to_owned()) })?;
            match found {
                Some(_) => self.vms.insert(name, found),
                None => self.vms.remove(&name),
            };
        }
        Ok(())
    }
}
