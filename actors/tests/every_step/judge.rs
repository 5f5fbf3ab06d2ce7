//! What must be true when a case has come to rest, whatever went wrong: nothing is lost, nothing is left over, every operation has ended,
//! and the user can go on.

use super::{
    harness::{Answer, Bench, ROOM, VM, place_of},
    lab::{self, name, who},
    procedure::{Act, Procedure},
    script::Fault,
};
use actors::{
    CommandError, decode_event,
    vm::address::{self, Entry, Given},
};
use domain::{
    image::State as ImageState,
    operation::{Operation, Status},
    vm::{Command, ReasonCode, State, Vm, admit, invariant},
};
use host::vmm::{Tuning, Vmm, VmmError};
use std::collections::BTreeSet;
use storage::{envelope, schema};

/// Where everything was before, where it would have gone by itself, and where it came to when nothing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    pub before: String,
    /// Where it would have come without being asked: a VM that boots, or waits for its restart, goes on by itself.
    pub unasked: String,
    pub after: String,
}

pub fn place(bench: &Bench) -> String {
    let image = bench.image().map_or_else(|| "no image".to_owned(), |image| format!("{} {}", image.state.name(), image.name));
    format!("{}, {image}", place_of(bench.vm().as_deref()))
}

/// Every promise that needs no knowledge of the procedure.
pub async fn whole(bench: &Bench) -> Result<(), String> {
    let vm = bench.vm();
    for operation in bench.operations() {
        if let Status::Failed(error) = &operation.status
            && (error.code.is_empty() || error.detail.is_empty() || error.hint.is_empty())
        {
            return Err(format!("an operation failed without a word: {operation:?}"));
        }
    }
    durable(bench, vm.as_deref())?;
    resources(bench, vm.as_deref()).await?;
    let held = bench.node().held();
    let runs = vm.as_ref().is_some_and(|vm| vm.state.holds_capacity());
    if (held != (0, 0)) != runs {
        return Err(format!("capacity held is {held:?}"));
    }
    if vm.as_ref().is_some_and(|vm| vm.operation.is_some()) {
        return Err("a VM at rest has an operation in flight".to_owned());
    }
    Ok(())
}

/// What is shown is what is durable; events are gapless.
fn durable(bench: &Bench, shown: Option<&Vm>) -> Result<(), String> {
    let journal = bench.node().journal().clone();
    let stored = journal.load(schema::VMS).map_err(|error| error.to_string())?;
    let stored: Vec<Vm> = stored.records.iter().map(|(_, bytes)| envelope::decode(bytes).unwrap()).collect();
    if stored.iter().collect::<Vec<_>>() != shown.iter().copied().collect::<Vec<_>>() {
        return Err(format!("durable is {stored:?}, shown is {shown:?}"));
    }
    if let Some(vm) = shown {
        invariant::check(vm).map_err(|broken| broken.to_string())?;
    }
    let noted = journal.load(address::TABLE).map_err(|error| error.to_string())?.records;
    let noted: Vec<_> = noted.iter().map(|(key, bytes)| (key.clone(), envelope::decode::<Given>(bytes).unwrap())).collect();
    let entries = |vm: &Vm| vm.nics.iter().map(|nic| Entry { address: nic.address, mac: nic.mac }).collect();
    let wanted = shown.filter(|vm| !vm.nics.is_empty()).map(|vm| (vm.id.to_string(), Given { entries: entries(vm) }));
    if noted != wanted.iter().cloned().collect::<Vec<_>>() {
        return Err(format!("the table of addresses has {noted:?}, the record {wanted:?}"));
    }
    let events = lab::events(&journal, 0);
    let cursors: Vec<u64> = events.iter().map(|(cursor, _)| *cursor).collect();
    if cursors != (1..=journal.latest()).collect::<Vec<u64>>() {
        return Err(format!("the events have gaps: {cursors:?}"));
    }
    let kept = journal.load(schema::OPERATIONS).map_err(|error| error.to_string())?;
    for (key, bytes) in kept.records {
        let operation: Operation = envelope::decode(&bytes).unwrap();
        if !operation.status.is_final() {
            return Err(format!("the operation {key} is durable and under way"));
        }
    }
    debug_assert!(decode_event(&[]).is_err());
    Ok(())
}

/// Each disk, interface, process and file belongs to a record that says so, and each record has what it says.
async fn resources(bench: &Bench, vm: Option<&Vm>) -> Result<(), String> {
    let machine = vm.and_then(|vm| vm.state.machine());
    let (disks, taps, machines) = {
        let things = bench.world.things();
        (things.disks.clone(), things.taps.clone(), things.machines.clone())
    };
    let half_deleted = vm.and_then(|vm| vm.reason.as_ref()).is_some_and(|reason| reason.code == ReasonCode::DeleteFailed);
    let wanted: BTreeSet<_> = vm.iter().map(|vm| vm.id).collect();
    if disks != wanted && !(half_deleted && disks.is_empty()) {
        return Err(format!("disks {disks:?}, VMs {wanted:?}"));
    }
    let wanted: Vec<&str> = vm.filter(|_| machine.is_some()).iter().flat_map(|vm| &vm.nics).map(|nic| nic.tap.as_str()).collect();
    if taps.keys().map(String::as_str).collect::<Vec<_>>() != wanted {
        return Err(format!("network interfaces {taps:?}, wanted {wanted:?}"));
    }
    for (id, made) in machines {
        let gone = !matches!(bench.ports.driver.usage(id, &made).await, Ok(_) | Err(VmmError::Refused { .. }));
        if gone == (machine == Some(&made)) {
            return Err(format!("the process {made:?} {}", if gone { "is gone and recorded" } else { "is an orphan" }));
        }
    }
    if let Some(vm) = vm.filter(|vm| matches!(vm.state, State::Running(_) | State::Paused(_))) {
        let devices = &vm.spec.devices;
        let (mem_mib, disks) = (vm.spec.plugged_mem_mib(), vm.spec.disk_sizes());
        let wanted = Tuning { rate_limits: devices.rate_limits, balloon_mib: devices.balloon_mib, mem_mib, disks };
        let (tuned, served) = {
            let things = bench.world.things();
            (things.tuned.get(&vm.id).cloned(), things.served.get(&vm.id).cloned())
        };
        // Where it is not as recorded, the VM says so.
        let told = vm.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::NotApplied);
        if tuned.as_ref() != Some(&wanted) && !told {
            return Err(format!("the machine has {tuned:?}, recorded is {wanted:?}"));
        }
        let wanted = (vm.name.to_string(), vm.spec.devices.metadata.clone());
        if served.as_ref() != Some(&wanted) && !told {
            return Err(format!("the guest reads {served:?}, recorded is {wanted:?}"));
        }
    }
    let known: Vec<_> = vm.filter(|_| machine.is_some()).iter().map(|vm| vm.id).collect();
    let left = bench.ports.driver.sweep(&known).await.unwrap();
    if !left.is_empty() {
        return Err(format!("left over: {left:?}"));
    }
    files(bench)
}

/// The store has the files of the images that are ready, and no others.
fn files(bench: &Bench) -> Result<(), String> {
    let (images, _) = bench.node().view().images(&actors::view::Page::first(100));
    let mut wanted = BTreeSet::new();
    for image in images {
        if let ImageState::Ready(files) = &image.state {
            wanted.insert(image.id.to_string());
            if files.initrd_digest.is_some() {
                wanted.insert(format!("{}.initrd", image.id));
            }
        }
    }
    let entries = std::fs::read_dir(bench.lab.dir.path().join("images")).unwrap();
    let names: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let found: BTreeSet<String> = names.into_iter().filter(|name| name != "by-digest").collect();
    // A deletion that failed half-way keeps its record; its files may be there or not.
    let failed = bench.image().is_some_and(|image| matches!(image.state, ImageState::Failed { .. }));
    if found != wanted && !failed {
        return Err(format!("files {found:?}, images {wanted:?}"));
    }
    Ok(())
}

/// What the user was told is what came.
pub fn honest(
    bench: &Bench,
    procedure: &Procedure,
    goal: &Goal,
    fault: Fault,
    step: &str,
    answer: &Answer,
) -> Result<(), String> {
    let now = place(bench);
    let status = match answer {
        Answer::Accepted(Some(operation)) => {
            let known = bench.operations().into_iter().find(|known| known.id == *operation);
            Some(known.ok_or("the operation that was answered is not known")?.status.clone())
        }
        Answer::Accepted(None) => Some(Status::Succeeded),
        Answer::Refused(_) | Answer::Silence | Answer::Nothing => None,
    };
    let undo = ["vmm.kill", "vmm.clean", "network.detach", "guest.shutdown"].iter().any(|name| step.starts_with(name));
    match status {
        Some(Status::Succeeded) if now != goal.after => Err(format!("it succeeded and is {now}, not {}", goal.after)),
        Some(Status::Succeeded) => Ok(()),
        // That it was cancelled is what the user wanted of it.
        Some(Status::Cancelled) if now == goal.after => Ok(()),
        // hearth's own end is no reason for anything to fail, and neither is a thing done twice or an undo that has to be tried again.
        Some(status) if fault.is_crash() || fault == Fault::Doubled || undo => Err(format!("{status:?}, and it is {now}")),
        Some(_) if now.starts_with("gone") && !goal.after.starts_with("gone") && !matches!(procedure.act, Act::Create { .. }) => {
            Err("a VM is lost".to_owned())
        }
        Some(_) => Ok(()),
        None if matches!(answer, Answer::Refused(actors::CommandError::Busy)) && now != goal.before && now != goal.unasked => {
            Err(format!("it was refused as busy and is {now}, not {}", goal.before))
        }
        None if fault.is_crash() && ![&goal.before, &goal.unasked, &goal.after].contains(&&now) => {
            Err(format!("nobody answered; it was {}, should be that or {}, and is {now}", goal.before, goal.after))
        }
        None if now.starts_with("gone") && !goal.after.starts_with("gone") && !goal.before.starts_with("gone") => {
            Err("a VM is lost".to_owned())
        }
        None => Ok(()),
    }
}

/// Whatever came of what the VM was to have: all addresses that it does not have can be had, and no more.
async fn held(bench: &mut Bench, act: &Act) -> Result<(), String> {
    let free = ROOM - bench.vm().map_or(0, |vm| vm.nics.len());
    let node = bench.node();
    let mut new = lab::vm("other", false);
    new.spec.networks = vec!["default".into(); free + 1];
    match bench.settled(node.create_vm(new.clone(), who())).await {
        Err(CommandError::AddressesExhausted { .. }) => {}
        other => return Err(format!("more addresses are given than there are: {other:?}")),
    }
    // Others give back with their VM's end what they have taken.
    if !matches!(act, Act::Command(Command::Update(change)) if change.networks.is_some()) {
        return Ok(());
    }
    new.spec.networks.pop();
    let made = bench.settled(node.create_vm(new, who())).await.map_err(|error| format!("{free} should be free: {error}"))?;
    finish(bench, made.operation).await?;
    let asked = bench.settled(node.command_vm(made.resource.id, Command::Delete { force: false }, who())).await;
    finish(bench, asked.map_err(|error| format!("the other: {error}"))?.operation).await
}

/// The user goes on: a start where one is admitted, a deletion, the same name again, with all addresses that there are; and then nothing is
/// left.
pub async fn goes_on(bench: &mut Bench, act: &Act) -> Result<(), String> {
    held(bench, act).await?;
    if let Some(vm) = bench.vm() {
        if admit(&vm, &Command::Start, None).is_ok() {
            command(bench, Command::Start).await?;
            let state = bench.vm().map(|vm| vm.state.clone());
            if !matches!(state, Some(State::Running(_))) {
                return Err(format!("started, it is {state:?}"));
            }
            whole(bench).await?;
        }
        command(bench, Command::Delete { force: true }).await?;
        if bench.vm().is_some() {
            return Err("deleted, it is still there".to_owned());
        }
    }
    whole(bench).await?;
    let node = bench.node();
    let mut new = lab::vm(VM, false);
    new.spec.networks = vec!["default".into(); ROOM];
    let made = bench.settled(node.create_vm(new, who())).await.map_err(|error| format!("name and addresses: {error}"))?;
    finish(bench, made.operation).await?;
    command(bench, Command::Delete { force: false }).await?;
    if let Some(image) = bench.image() {
        let node = bench.node();
        let asked = bench.settled(node.command_image(image.id, actors::ImageCommand::Delete, who())).await;
        finish(bench, asked.map_err(|error| format!("the image can't be deleted: {error}"))?.operation).await?;
        if node.view().find_image(&name("default"), &image.name).is_some() {
            return Err("the image is still there".to_owned());
        }
    }
    whole(bench).await
}

async fn command(bench: &mut Bench, command: Command) -> Result<(), String> {
    let vm = bench.vm().ok_or("there is no VM")?;
    let node = bench.node();
    let asked = bench.settled(node.command_vm(vm.id, command.clone(), who())).await;
    finish(bench, asked.map_err(|error| format!("{command:?}: {error}"))?.operation)
        .await
        .map_err(|error| format!("{command:?}: {error}"))
}

async fn finish(bench: &mut Bench, operation: Option<domain::OperationId>) -> Result<(), String> {
    bench.settle(Default::default, None).await;
    let Some(id) = operation else { return Ok(()) };
    let status = bench.node().view().operation(id).map(|operation| operation.status.clone());
    if status == Some(Status::Succeeded) { Ok(()) } else { Err(format!("{status:?}")) }
}
