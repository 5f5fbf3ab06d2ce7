//! Users who do random things, from a seed, and write down what they were told: the ledger that the checker holds hearth to.
//!
//! Each user has VMs of its own, whose names are never used twice. Randomness decides what is asked, not what comes of it: the same seed
//! gives the same wishes, while the moment of a kill among them depends on the machine.

use anyhow::Result;
use api::{
    client::{Accepted, Client, ClientError, Options},
    v1::{CreateVm, Labels, StopRequest, Vm, VmSpec, VmState},
};
use checker::ledger::{Entry, What, Writer};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Small, good enough, and the same on every machine (Steele, Lea and Flood: SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// One who asks things of hearth until told to stop.
pub struct User {
    name: String,
    client: Client,
    dice: Dice,
    spec: VmSpec,
    /// How many VMs it has at most.
    most: usize,
    made: u64,
    /// Its VMs and where they are, as far as it knows; absent: it was not answered, and leaves it alone.
    vms: BTreeMap<String, Option<VmState>>,
    ledger: Ledger,
}

/// What is written by several users.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Writer>>);

impl Ledger {
    pub fn open(path: &Path) -> Result<Ledger> {
        Ok(Ledger(Arc::new(Mutex::new(Writer::open(path)?))))
    }

    pub fn write(&self, name: &str, what: What) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(&Entry { name: name.to_owned(), what })
    }
}

/// What can be asked of a VM, and where it leads.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Start,
    Stop { force: bool },
    Pause,
    Resume,
    Reboot,
    Delete,
}

impl Wish {
    fn leads_to(self) -> Option<VmState> {
        match self {
            Wish::Start | Wish::Resume | Wish::Reboot => Some(VmState::Running),
            Wish::Stop { .. } => Some(VmState::Stopped),
            Wish::Pause => Some(VmState::Paused),
            Wish::Delete => None,
        }
    }

    fn of(state: VmState) -> &'static [Wish] {
        match state {
            VmState::Running => {
                &[Wish::Stop { force: true }, Wish::Stop { force: false }, Wish::Pause, Wish::Pause, Wish::Reboot, Wish::Delete]
            }
            VmState::Paused => &[Wish::Resume, Wish::Resume, Wish::Stop { force: true }, Wish::Delete],
            VmState::Created | VmState::Stopped => &[Wish::Start, Wish::Start, Wish::Start, Wish::Delete],
            VmState::Failed => &[Wish::Start, Wish::Delete],
            _ => &[],
        }
    }
}

impl User {
    pub fn new(name: String, client: Client, seed: u64, spec: VmSpec, most: usize, ledger: Ledger) -> User {
        User { name, client, dice: Dice::new(seed), spec, most, made: 0, vms: BTreeMap::new(), ledger }
    }

    /// One thing after the other. Whatever is not answered is left open; a ledger that can't be written is an error.
    pub async fn go(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        while !*stop.borrow() {
            let name = self.choose();
            tokio::select! {
                done = self.act(name) => done?,
                _ = stop.changed() => return Ok(()),
            }
        }
        Ok(())
    }

    fn choose(&mut self) -> Option<String> {
        let idle: Vec<String> = self.vms.iter().filter(|(_, state)| state.is_some()).map(|(name, _)| name.clone()).collect();
        let room = self.vms.len() < self.most;
        match idle.is_empty() || (room && self.dice.below(3) == 0) {
            true => None,
            false => Some(self.dice.pick(&idle).clone()),
        }
    }

    /// `None`: a new one.
    async fn act(&mut self, name: Option<String>) -> Result<()> {
        let Some(name) = name else {
            if self.vms.len() >= self.most {
                // Nobody answers for any of them; the next round sorts that out.
                std::future::pending::<()>().await;
            }
            return self.create().await;
        };
        let Some(Some(state)) = self.vms.get(&name).copied() else { return Ok(()) };
        let wishes = Wish::of(state);
        if wishes.is_empty() {
            self.vms.insert(name, None);
            return Ok(());
        }
        let wish = *self.dice.pick(wishes);
        self.ask(&name, wish.leads_to())?;
        let answer = self.carry_out(&name, wish).await;
        self.hear(&name, wish.leads_to(), answer).await
    }

    async fn create(&mut self) -> Result<()> {
        self.made += 1;
        let name = format!("{}-{}", self.name, self.made);
        let start = self.dice.below(2) == 0;
        let leads_to = Some(if start { VmState::Running } else { VmState::Created });
        self.ask(&name, leads_to)?;
        let create = CreateVm { name: Some(name.clone()), project: None, labels: Labels::new(), spec: self.spec.clone(), start };
        let answer = self.client.vms().create(&create, &Options::default()).await;
        self.hear(&name, leads_to, answer).await
    }

    async fn carry_out(&mut self, name: &str, wish: Wish) -> Result<Accepted<Vm>, ClientError> {
        let (vms, options) = (self.client.vms(), Options::default());
        match wish {
            Wish::Start => vms.start(name, &options).await,
            Wish::Stop { force } => vms.stop(name, &StopRequest { force, deadline_s: Some(20) }, &options).await,
            Wish::Pause => vms.pause(name, &options).await,
            Wish::Resume => vms.resume(name, &options).await,
            Wish::Reboot => vms.reboot(name, &StopRequest { force: true, deadline_s: None }, &options).await,
            Wish::Delete => vms.delete(name, true, &options).await,
        }
    }

    fn ask(&mut self, name: &str, leads_to: Option<VmState>) -> Result<()> {
        // Until there is an answer, nobody knows.
        self.vms.insert(name.to_owned(), None);
        self.ledger.write(name, What::Asked { leads_to: leads_to.map(|state| state.as_str().to_owned()) })
    }

    async fn hear(&mut self, name: &str, leads_to: Option<VmState>, answer: Result<Accepted<Vm>, ClientError>) -> Result<()> {
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(ClientError::Problem(problem)) if problem.status < 500 => {
                self.ledger.write(name, What::Refused)?;
                return self.look(name).await;
            }
            // It may have been carried out, or not.
            Err(_) => return self.pause().await,
        };
        let id = accepted.resource.map(|vm| vm.id);
        self.ledger.write(name, What::Accepted { id, operation: accepted.operation.clone() })?;
        // Some wait for the end, some go on and find out later.
        if self.dice.below(4) == 0 {
            return Ok(());
        }
        let Some(operation) = accepted.operation else { return self.look(name).await };
        match self.client.follow(&operation, Duration::from_secs(60), |_| {}).await {
            Ok(_) => {
                self.ledger.write(name, What::Ended { succeeded: true })?;
                self.known(name, leads_to);
                Ok(())
            }
            Err(ClientError::Problem(problem)) if problem.status != 404 && problem.code != "unauthorized" => {
                // The operation failed, or the question about it did; the state tells.
                self.ledger.write(name, What::Ended { succeeded: false })?;
                self.look(name).await
            }
            Err(_) => self.pause().await,
        }
    }

    fn known(&mut self, name: &str, state: Option<VmState>) {
        match state {
            Some(state) => self.vms.insert(name.to_owned(), Some(state)),
            None => self.vms.remove(name),
        };
    }

    async fn look(&mut self, name: &str) -> Result<()> {
        if let Ok(vm) = self.client.vms().get(name).await {
            self.vms.insert(name.to_owned(), Some(vm.status.state));
        }
        Ok(())
    }

    /// Not again in the same moment.
    async fn pause(&mut self) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    /// After a round, when all has come to rest and was checked: what is there is known again, and written down.
    pub async fn take_stock(&mut self) -> Result<()> {
        for name in self.vms.keys().cloned().collect::<Vec<_>>() {
            let found = match self.client.vms().get(&name).await {
                Ok(vm) => Some(vm.status.state),
                Err(ClientError::Problem(problem)) if problem.status == 404 => None,
                Err(error) => return Err(error.into()),
            };
            self.ledger.write(&name, What::Is { state: found.map(|state| state.as_str().to_owned()) })?;
            self.known(&name, found);
        }
        Ok(())
    }
}
