//! One case: bring a VM to its place, begin, let one effect go wrong, start again where hearth went, and wait until nothing moves.
//!
//! The clock stands unless it is moved here: a case takes milliseconds, whatever back-offs and deadlines are in it, and nothing depends on
//! how busy the machine is. A thread that only waits keeps tokio from moving it by itself while the journal's thread works.

use super::{
    lab::{self, Lab, name, who},
    procedure::{Act, Place, Procedure},
    script::{Fault, Gate, Script, Step},
    world::{Ports, World},
};
use actors::{Accepted, ActorInfo, CommandError, ImageCommand, NewImage, NewVm, Node};
use domain::{
    ImageId, Labels, OperationId,
    image::{ImageKind, ImageSpec, State as ImageState},
    operation::Operation,
    vm::{Command, Exit, Mac, RestartPolicy, Starting, State, Vm},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// Between two looks whether something moved; in real time.
const LOOK: Duration = Duration::from_micros(300);
/// So often nothing may have moved before the clock is.
const STILL: u32 = 3;
/// How far the clock is moved at once: less than any wait that has something to do with another.
const TICK: Duration = Duration::from_millis(500);
/// Ticks until a case counts as one that never ends: an hour.
const TICKS_MAX: u32 = 7_200;

/// So often in a row everything must be at rest.
const CALM: u32 = 2;
/// Looks after which a start that goes on no further is held up by what is over.
const HELD_UP: u32 = 100;

/// The VM and the image that a case is about.
pub const VM: &str = "a";
pub const IMAGE: &str = "extra";
/// So few addresses that one which is lost, or given and not held, is found out.
const SUBNET: &str = "10.77.0.0/29";
pub const ROOM: usize = 5;

pub struct Bench {
    pub lab: Lab,
    pub world: Arc<World>,
    pub script: Arc<Script>,
    pub ports: Ports,
    node: Option<Node>,
    kernel: PathBuf,
    initrd: PathBuf,
}

/// What the user heard.
#[derive(Debug)]
pub enum Answer {
    Accepted(Option<OperationId>),
    Refused(CommandError),
    /// hearth went before it answered.
    Silence,
    /// It was no command.
    Nothing,
}

/// A file system in memory where there is one: thousands of syncs are not what is tried here.
fn place_for_files() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// With room for memory, so that a running one can be given some.
fn roomy(start: bool, restart: RestartPolicy) -> NewVm {
    let mut new = lab::vm(VM, start);
    new.spec.restart = restart;
    new.spec.devices.mem_max_mib = Some(256);
    new
}

impl Bench {
    pub async fn new() -> Bench {
        let lab = Lab { subnet: SUBNET, ..Lab::at(&place_for_files()) };
        let (world, script) = (Arc::<World>::default(), Arc::<Script>::default());
        let ports = Ports::open(lab.dir.path(), &world, &script);
        let kernel = lab.dir.path().join("vmlinux");
        let initrd = lab.dir.path().join("initrd.cpio");
        std::fs::write(&initrd, b"070701, or so it says").unwrap();
        let mut bench = Bench { lab, world, script, ports, node: None, kernel, initrd };
        bench.start().await;
        let node = bench.node();
        let lab = &bench.lab;
        bench.settled(async { lab.add_images(&node).await }).await;
        bench
    }

    pub fn node(&self) -> Node {
        self.node.clone().unwrap()
    }

    async fn start(&mut self) {
        let vmm = Arc::new(self.ports.clone());
        let mut parts = self.lab.parts(vmm.clone(), vmm.clone());
        parts.ports.network = Some(vmm);
        let gate = Gate::of(&self.script);
        let script = Arc::clone(&self.script);
        let starting = Node::start_with_gate(parts, gate);
        // A life may end while it begins; where that does not hold the start up, it ends as others do.
        tokio::select! {
            node = starting => self.node = Some(node.unwrap()),
            () = over(&script) => self.node = None,
        }
    }

    /// The process is gone, and another one comes.
    pub async fn restart(&mut self, script: Arc<Script>) {
        if let Some(node) = self.node.take() {
            node.crash().await;
        }
        self.script = script;
        self.ports = Ports::open(self.lab.dir.path(), &self.world, &self.script);
        self.start().await;
        if self.node.is_none() {
            // Its journal is closed by the drop of its last handle, on which nobody can wait.
            let lab = &self.lab;
            while storage::Journal::open(storage::Options::new(lab.dir.path().join("journal"))).map(drop).is_err() {
                look().await;
            }
        }
    }

    /// Drives `work` to its end, moving the clock where nothing else moves.
    pub async fn settled<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut ticker = Ticker::new(&self.script);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return result,
                still = ticker.look() => if still { tokio::time::advance(TICK).await },
            }
        }
    }

    pub fn vm(&self) -> Option<Arc<Vm>> {
        let node = self.node();
        let (rows, _) = node.view().vms(&actors::view::Page::first(10));
        rows.into_iter().map(|row| row.record).find(|vm| ["a", "renamed"].contains(&vm.name.as_str()))
    }

    pub fn image(&self) -> Option<Arc<domain::image::Image>> {
        let node = self.node();
        let id = [IMAGE, "renamed"].iter().find_map(|called| node.view().find_image(&name("default"), &name(called)))?;
        node.view().image(id)
    }

    pub fn operations(&self) -> Vec<Arc<Operation>> {
        self.node().view().operations(&actors::view::Page::first(1_000)).0
    }

    /// Brings the VM where the procedure begins.
    pub async fn set_up(&mut self, procedure: &Procedure) {
        let (from, policy) = (procedure.from, procedure.policy);
        if procedure.act == Act::DeleteImage || procedure.act == Act::RenameImage {
            self.carry_out(&Act::ImportImage, policy).await;
        }
        if from == Place::Nowhere {
            return;
        }
        self.world.things().silent = from == Place::Booting;
        if from == Place::Failed {
            self.script.arm(Some((Step { name: "vmm.launch", turn: 1 }, Fault::FailsBefore)));
        }
        let start = from != Place::Created;
        let node = self.node();
        let new = roomy(start, policy);
        self.settled(node.create_vm(new, who())).await.unwrap();
        let reached = |place: &str| self.vm().is_some_and(|vm| path(&vm.state) == place);
        match from {
            Place::Nowhere | Place::Created => self.until(|| reached("created")).await,
            Place::Booting => self.until(|| reached("booting")).await,
            Place::Failed => self.until(|| reached("failed")).await,
            Place::Running => self.until(|| reached("running")).await,
            Place::Paused | Place::Stopped | Place::BackingOff => {
                self.until(|| reached("running")).await;
                let vm = self.vm().unwrap();
                let wanted = match from {
                    Place::Paused => {
                        self.settled(node.command_vm(vm.id, Command::Pause, who())).await.unwrap();
                        "paused"
                    }
                    Place::Stopped => {
                        let stop = Command::Stop(domain::vm::StopMode::Force);
                        self.settled(node.command_vm(vm.id, stop, who())).await.unwrap();
                        "stopped"
                    }
                    _ => {
                        self.ports.end(vm.id, vm.state.machine().unwrap(), Exit::GuestPanic).await;
                        "backing-off"
                    }
                };
                self.until(|| reached(wanted)).await;
            }
        }
    }

    /// Waits without moving the clock.
    async fn until(&self, mut so: impl FnMut() -> bool) {
        let mut looks = 0;
        while !so() {
            look().await;
            looks += 1;
            assert!(looks < 20_000, "the place is never reached: {:?}", self.vm().map(|vm| vm.state.clone()));
        }
    }

    /// Whether the VM admits it where it is; what is no command always can be.
    pub fn admits(&self, act: &Act) -> bool {
        match (act, self.vm()) {
            (Act::Command(command), Some(vm)) => domain::vm::admit(&vm, &meant(command, &vm), None).is_ok(),
            (Act::Ends(_), vm) => vm.is_some_and(|vm| vm.state.machine().is_some()),
            _ => true,
        }
    }

    async fn carry_out(&mut self, act: &Act, policy: RestartPolicy) {
        let asked = self.begin(act, policy).await;
        self.settled(asked).await.unwrap();
        let plain = || Arc::<Script>::default();
        self.settle(plain, None).await;
    }

    /// Asks for it; the answer may never come.
    pub async fn begin(&self, act: &Act, policy: RestartPolicy) -> JoinHandle<Answer> {
        let node = self.node();
        let (vm, image) = (self.vm(), self.image());
        // Whatever held a guest back, it does no longer.
        self.world.things().silent = false;
        let told = |answer: Result<Option<OperationId>, CommandError>| match answer {
            Ok(operation) => Answer::Accepted(operation),
            Err(error) => Answer::Refused(error),
        };
        match act.clone() {
            Act::Create { start } => {
                let new = roomy(start, policy);
                tokio::spawn(async move { told(node.create_vm(new, who()).await.map(operation)) })
            }
            Act::Command(command) => {
                let vm = vm.unwrap();
                let (id, command) = (vm.id, meant(&command, &vm));
                tokio::spawn(async move { told(node.command_vm(id, command, who()).await.map(operation)) })
            }
            Act::Ends(exit) => {
                let vm = vm.unwrap();
                self.ports.end(vm.id, vm.state.machine().unwrap(), exit).await;
                tokio::spawn(async { Answer::Nothing })
            }
            Act::ImportImage => {
                let spec = ImageSpec {
                    kind: ImageKind::Kernel,
                    path: self.kernel.to_str().unwrap().to_owned(),
                    initrd: Some(self.initrd.to_str().unwrap().to_owned()),
                    default: false,
                    description: None,
                };
                let new = NewImage { name: name(IMAGE), project: name("default"), labels: Labels::new(), spec };
                tokio::spawn(async move { told(node.create_image(new, who()).await.map(operation)) })
            }
            Act::DeleteImage => self.image_command(node, image.unwrap().id, ImageCommand::Delete),
            Act::RenameImage => {
                let name = Some("renamed".parse().unwrap());
                let update = ImageCommand::Update { name, labels: None, default: None, description: None };
                self.image_command(node, image.unwrap().id, update)
            }
        }
    }

    fn image_command(&self, node: Node, id: ImageId, command: ImageCommand) -> JoinHandle<Answer> {
        tokio::spawn(async move {
            match node.command_image(id, command, who()).await {
                Ok(accepted) => Answer::Accepted(accepted.operation),
                Err(error) => Answer::Refused(error),
            }
        })
    }

    /// Until nothing moves and nothing waits; a life that ended is followed by another. Gives the answer to `asked`.
    pub async fn settle(&mut self, next_life: impl Fn() -> Arc<Script>, asked: Option<JoinHandle<Answer>>) -> Answer {
        let (mut ticks, mut calm) = (0, 0);
        let mut ticker = Ticker::new(&self.script);
        let mut answer = Answer::Nothing;
        let mut asked = asked;
        loop {
            if self.script.is_over() || self.node.is_none() {
                // A refusal may be on its way to the user.
                for _ in 0..STILL {
                    look().await;
                }
                if let Some(asked) = asked.take() {
                    answer = heard(asked).await.unwrap_or(Answer::Silence);
                }
                let script = if self.node.is_none() { Arc::default() } else { next_life() };
                self.restart(script).await;
                ticker = Ticker::new(&self.script);
                continue;
            }
            if asked.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(asked) = asked.take()
            {
                answer = asked.await.unwrap();
            }
            if !ticker.look().await {
                continue;
            }
            // Twice, with time between: an actor that has just died is not yet known to have.
            calm = if asked.is_none() && self.is_at_rest() && self.everyone_lives() { calm + 1 } else { 0 };
            if calm == CALM {
                return answer;
            }
            ticks += 1;
            assert!(ticks < TICKS_MAX, "it never comes to rest: {}", self.picture());
            tokio::time::advance(TICK).await;
        }
    }

    fn is_at_rest(&self) -> bool {
        let vms = self.vm().is_none_or(|vm| is_at_rest(&vm.state));
        let image = self.image().is_none_or(|image| matches!(image.state, ImageState::Ready(_) | ImageState::Failed { .. }));
        vms && image && self.operations().iter().all(|operation| operation.status.is_final())
    }

    /// No actor waits for its restart, and none is in the middle of something: the journal's thread keeps its own time, not the test's.
    fn everyone_lives(&self) -> bool {
        let node = self.node();
        let names = [self.vm().map(|vm| vm.id.to_string()), self.image().map(|image| image.id.to_string())];
        // One that does nothing may have no actor at all.
        names.into_iter().flatten().all(|name| node.actor(&name).is_none_or(|actor| is_idle(&actor)))
    }

    /// All that is there, for the message of a failure.
    pub fn picture(&self) -> String {
        let operations: Vec<String> =
            self.operations().iter().map(|operation| format!("{} {:?}", operation.kind.as_str(), operation.status)).collect();
        let things = self.world.things();
        format!(
            "{:?}, image {:?}, operations {operations:?}, disks {:?}, devices {:?}, steps {:?}",
            self.vm().map(|vm| (vm.state.clone(), vm.reason.clone())),
            self.image().map(|image| image.state.clone()),
            things.disks,
            things.taps,
            self.script.log().iter().map(ToString::to_string).collect::<Vec<_>>(),
        )
    }

    pub async fn end(mut self) {
        if let Some(node) = self.node.take() {
            node.crash().await;
        }
    }
}

/// The command, about what the VM works on now.
fn meant(command: &Command, vm: &Vm) -> Command {
    match (command, vm.operation) {
        (Command::Cancel { .. }, Some(in_flight)) => Command::Cancel { operation: in_flight.id },
        _ => command.clone(),
    }
}

fn operation<T>(accepted: Accepted<T>) -> Option<OperationId> {
    accepted.operation
}

async fn heard(asked: JoinHandle<Answer>) -> Option<Answer> {
    if asked.is_finished() {
        return asked.await.ok();
    }
    asked.abort();
    None
}

async fn over(script: &Script) {
    while !script.is_over() {
        look().await;
    }
    for _ in 0..HELD_UP {
        look().await;
    }
}

/// Lets everything run that can, for a moment of real time.
async fn look() {
    tokio::task::spawn_blocking(|| std::thread::sleep(LOOK)).await.unwrap();
}

/// Tells whether nothing has moved for a while.
struct Ticker {
    script: Arc<Script>,
    seen: u64,
    still: u32,
}

impl Ticker {
    fn new(script: &Arc<Script>) -> Ticker {
        Ticker { script: Arc::clone(script), seen: 0, still: 0 }
    }

    async fn look(&mut self) -> bool {
        look().await;
        let (moved, in_flight) = self.script.movement();
        if moved != self.seen || in_flight > 0 {
            (self.seen, self.still) = (moved, 0);
            return false;
        }
        self.still += 1;
        let still = self.still >= STILL;
        if still {
            self.still = 0;
        }
        still
    }
}

/// Where a VM stays until somebody or something comes. A new state has to be judged here before this compiles.
pub fn is_at_rest(state: &State) -> bool {
    match state {
        State::Created | State::Running(_) | State::Paused(_) | State::Stopped | State::Failed => true,
        State::Creating { .. }
        | State::Starting(_)
        | State::Pausing(_)
        | State::Resuming(_)
        | State::Stopping(_)
        | State::Snapshotting(_)
        | State::Restoring
        | State::Deleting => false,
    }
}

/// A state's name, and inside `starting` where.
pub fn path(state: &State) -> &'static str {
    match state {
        State::Starting(Starting::Booting(_)) => "booting",
        State::Starting(Starting::BackingOff) => "backing-off",
        other => other.name(),
    }
}

pub fn place_of(vm: Option<&Vm>) -> String {
    let interfaces = |vm: &Vm| vm.nics.iter().map(|nic| format!(" {}", Mac::of(nic))).collect::<String>();
    vm.map_or_else(|| "gone".to_owned(), |vm| format!("{} {} with{}", path(&vm.state), vm.name, interfaces(vm)))
}

fn is_idle(actor: &ActorInfo) -> bool {
    actor.state == "running" && actor.mailbox == 0 && actor.message.is_none()
}
