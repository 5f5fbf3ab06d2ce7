//! The handle of a node: commands that are durable when they return, reads from the view, and the ways to a guest.

use super::{
    Accepted, ImageCommand, NewImage, NewVm, NewWebhook, Parts, Who, aside, load,
    root::{Args, Root, RootMsg, Slots},
};
use crate::{
    ask::{COMMAND_DEADLINE, ask, ask_if_there},
    error::{CommandError, StartError, chain},
    host::HostsMsg,
    image::ImagesMsg,
    operation::OperationsMsg,
    shared::Shared,
    supervise::{Address, Progress},
    view::{Page, View},
    vm::{VmMsg, VmRef, VmsMsg},
    webhook::{Content, Letter, Outcome, Post, WebhooksMsg, read_letters},
};
use domain::{
    HostId, ImageId, Name, OperationId, VmId, WebhookId,
    event::Kind,
    host::{Capability, Host},
    image::Image,
    operation::{NotCancellable, Operation},
    vm::{self, Command, StopMode, Vm, nic::taps_of},
    webhook::{self, Webhook},
};
use host::{
    guest::{Connection, GuestSession},
    secret::{Secret, SecretError},
    vmm::{Console, confinement::Confinement},
};
use ractor::{Actor, Message, RpcReplyPort, rpc::CallResult};
use std::{sync::Arc, time::Duration};
use storage::{Journal, schema};
use tokio::sync::watch;

/// A look at a process takes some reads of `/proc`; nobody waits for one that hangs.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// How long a guest may take to accept a connection to its vsock: its kernel does so at once, on a busy machine within seconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long the root may take to answer or to stop.
const ROOT_DEADLINE: Duration = Duration::from_secs(15);

/// A cheap handle; clones are the same node.
#[derive(Clone)]
pub struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) slots: Slots,
    pub(super) root: Address<RootMsg>,
    fatal: watch::Receiver<Option<String>>,
}

impl Node {
    /// Reads the journal, sweeps what belongs to no record, starts the actors. When it returns, every VM's actor reconciles.
    pub async fn start(parts: Parts) -> Result<Node, StartError> {
        Node::begin(parts, |_| {}).await
    }

    /// As `start`, with faults around every commit.
    #[cfg(any(test, feature = "faults"))]
    pub async fn start_with_gate(parts: Parts, gate: Arc<dyn crate::faults::CommitGate>) -> Result<Node, StartError> {
        Node::begin(parts, |shared| shared.gate = Some(gate)).await
    }

    /// As `start`, with other bounds on what is kept of ended operations.
    #[cfg(any(test, feature = "faults"))]
    pub async fn start_keeping(parts: Parts, ended: crate::operation::KeepEnded) -> Result<Node, StartError> {
        Node::begin(parts, |shared| shared.keep_ended = ended).await
    }

    async fn begin(parts: Parts, change: impl FnOnce(&mut Shared)) -> Result<Node, StartError> {
        let host_name: Name =
            parts.host_name.to_ascii_lowercase().parse().map_err(|_| StartError::HostName(parts.host_name.clone()))?;
        aside::put_back(&parts.journal).await?;
        let hosts = load::table::<Host>(&parts.journal, schema::HOSTS)?;
        let host = aside::own(&hosts);
        let mut vms = load::table::<Vm>(&parts.journal, schema::VMS)?;
        let images = load::table::<Image>(&parts.journal, schema::IMAGES)?;
        let mut shared = Shared::new(parts.journal, parts.ports, host);
        change(&mut shared);
        let shared = Arc::new(shared);
        let slots = Slots::default();
        aside::merge_hosts(&shared, &slots.operations, hosts, &mut vms).await?;
        let webhooks = load::table::<Webhook>(&shared.journal, schema::WEBHOOKS)?;
        sweep(&shared, &vms, &images, &webhooks).await;
        for webhook in webhooks {
            shared.view.put_webhook(webhook);
        }
        for image in images {
            shared.view.put_image(image);
        }
        for record in &vms {
            shared.view.put_vm(crate::view::VmView { record: Arc::clone(record), agent: None, started_at: None, hold: None });
        }
        let records = load::table::<Operation>(&shared.journal, schema::OPERATIONS)?;
        load::operations(&shared, &slots.operations, records).await?;
        let (fatal, failed) = watch::channel(None);
        let progress: Arc<Progress> = Arc::default();
        let args = Args {
            shared: Arc::clone(&shared),
            slots: slots.clone(),
            subnet: parts.subnet,
            host_name,
            progress: Arc::clone(&progress),
            vms: Some(vms),
            fatal,
        };
        let (root, _) = Actor::spawn(None, Root, args).await.map_err(|error| StartError::Spawn(error.to_string()))?;
        Ok(Node { shared, slots, root: Address::new(root, progress), fatal: failed })
    }

    /// Stops the actors and closes the journal. Guests go on.
    pub async fn stop(&self) {
        if let Err(error) = self.root.actor().stop_and_wait(None, Some(ROOT_DEADLINE)).await {
            tracing::warn!(%error, "the actors did not stop in time");
            self.root.actor().kill();
        }
        self.shared.journal.close().await;
    }

    /// Resolves, with the reason, when the node can't go on by itself.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.clone();
        let reason = fatal.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The root is gone without a word: it was stopped, which is no failure.
            None => std::future::pending().await,
        }
    }

    /// Stops every guest: politely until the deadline, then by force.
    pub async fn stop_guests(&self, deadline: Duration) {
        let (rows, _) = self.shared.view.vms(&Page::first(usize::MAX - 1));
        let running: Vec<VmId> = rows.iter().filter(|row| row.record.state.holds_capacity()).map(|row| row.record.id).collect();
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let stops = running.into_iter().map(|id| async move {
            let who = || Who::system("down");
            let polite = self.command_vm(id, Command::Stop(StopMode::Graceful { deadline_ms }), who()).await;
            let accepted = match polite {
                Ok(accepted) => Some(accepted),
                Err(_) => self.command_vm(id, Command::Stop(StopMode::Force), who()).await.ok(),
            };
            if let Some(operation) = accepted.and_then(|accepted| accepted.operation) {
                self.wait(operation, deadline + ROOT_DEADLINE).await;
            }
        });
        futures_util::future::join_all(stops).await;
    }

    /// Removes the bridge with its rules and the VMM's own group when no VM runs any more: what `hearth down` leaves is the data directory
    /// alone.
    pub async fn give_back(&self) {
        let (rows, _) = self.shared.view.vms(&Page::first(usize::MAX - 1));
        if rows.iter().any(|row| row.record.state.holds_capacity()) {
            return;
        }
        if let Some(network) = &self.shared.network
            && let Err(error) = network.tear_down().await
        {
            tracing::warn!(error = %chain(&error), "the bridge and its rules were not removed");
        }
        if let Err(error) = self.shared.vmm.tear_down().await {
            tracing::warn!(error = %chain(&error), "what the VMM holds of the machine was not given back");
        }
    }

    pub async fn create_vm(&self, new: NewVm, who: Who) -> Result<Accepted<Arc<Vm>>, CommandError> {
        let vms = self.slots.vms.get().ok_or(CommandError::Restarting)?;
        self.change_by(&vms, |reply_to| VmsMsg::Create { new: Box::new(new), who, reply_to }).await
    }

    pub async fn command_vm(&self, id: VmId, command: Command, who: Who) -> Result<Accepted<Arc<Vm>>, CommandError> {
        self.revive(id).await?;
        if let Command::Update(change) = &command {
            self.check_update(id, change)?;
            // What no two may have, their supervisor gives.
            if change.name.is_some() || change.networks.is_some() {
                let vms = self.slots.vms.get().ok_or(CommandError::Restarting)?;
                let (command, who) = (Box::new(command), Box::new(who));
                return self.change_by(&vms, |reply_to| VmsMsg::Update { id, command, who, reply_to }).await;
            }
        }
        let actor = self.vm_actor(id)?;
        let (command, who) = (Box::new(command), Box::new(who));
        let answer = self.change(&actor, |reply_to| VmMsg::Command { command, who, reply_to }).await;
        // Its actor took no more: the VM went while the command was on its way to it, and nothing of it was carried out.
        let is_gone = answer.is_none() && self.shared.view.vm(id).is_none();
        answer.unwrap_or_else(|| Err(if is_gone { not_found(Kind::Vm, id.to_string()) } else { CommandError::Restarting }))
    }

    /// Asks for a change. A command that nobody answered may be on its way to the disk. That it failed is said once the journal has settled:
    /// who asks again with the same key would not find it before, and have it carried out twice. Absent: it was not even sent.
    async fn change<M: Message, T: Send + 'static>(
        &self,
        actor: &Address<M>,
        command: impl FnOnce(RpcReplyPort<Result<T, CommandError>>) -> M,
    ) -> Option<Result<T, CommandError>> {
        let answer = ask_if_there(actor, command).await?;
        if matches!(answer, Err(CommandError::Restarting | CommandError::Timeout)) {
            let _ = tokio::time::timeout(COMMAND_DEADLINE, self.shared.settled()).await;
        }
        Some(answer)
    }

    /// As [`Self::change`], of a supervisor.
    async fn change_by<M: Message, T: Send + 'static>(
        &self,
        supervisor: &Address<M>,
        command: impl FnOnce(RpcReplyPort<Result<T, CommandError>>) -> M,
    ) -> Result<T, CommandError> {
        self.change(supervisor, command).await.unwrap_or(Err(CommandError::Restarting))
    }

    /// The image's part of what must hold of a changed specification; the rest is judged by the VM's actor, on the record that it changes.
    fn check_update(&self, id: VmId, change: &vm::Change) -> Result<(), CommandError> {
        let row = self.shared.view.vm(id).ok_or_else(|| not_found(Kind::Vm, id.to_string()))?;
        match (change.disk_mib, self.shared.view.image(row.record.boot.rootfs)) {
            (Some(disk_mib), Some(rootfs)) => super::resolve::holds(disk_mib, &rootfs),
            _ => Ok(()),
        }
    }

    pub async fn create_image(&self, new: NewImage, who: Who) -> Result<Accepted<Arc<Image>>, CommandError> {
        let images = self.slots.images.get().ok_or(CommandError::Restarting)?;
        self.change_by(&images, |reply_to| ImagesMsg::Create { new: Box::new(new), who, reply_to }).await
    }

    pub async fn command_image(
        &self,
        id: ImageId,
        command: ImageCommand,
        who: Who,
    ) -> Result<Accepted<Arc<Image>>, CommandError> {
        let images = self.slots.images.get().ok_or(CommandError::Restarting)?;
        self.change_by(&images, |reply_to| ImagesMsg::Command { id, command, who, reply_to }).await
    }

    pub async fn command_host(&self, id: HostId, command: domain::host::Command, who: Who) -> Result<Arc<Host>, CommandError> {
        let hosts = self.slots.hosts.get().ok_or(CommandError::Restarting)?;
        self.change_by(&hosts, |reply_to| HostsMsg::Command { id, command, who, reply_to }).await
    }

    pub async fn create_webhook(&self, new: NewWebhook, who: Who) -> Result<Accepted<Arc<Webhook>>, CommandError> {
        let webhooks = self.slots.webhooks.get().ok_or(CommandError::Restarting)?;
        self.change_by(&webhooks, |reply_to| WebhooksMsg::Create { new: Box::new(new), who, reply_to }).await
    }

    /// `secret`: a new one, with an update.
    pub async fn command_webhook(
        &self,
        id: WebhookId,
        command: webhook::Command,
        secret: Option<Secret>,
        who: Who,
    ) -> Result<Accepted<Arc<Webhook>>, CommandError> {
        let webhooks = self.slots.webhooks.get().ok_or(CommandError::Restarting)?;
        let command = Box::new(command);
        self.change_by(&webhooks, |reply_to| WebhooksMsg::Command { id, command, secret, who, reply_to }).await
    }

    /// What the webhook's deliveries are signed with. For whoever just made it.
    pub async fn webhook_secret(&self, id: WebhookId) -> Result<Secret, CommandError> {
        let record = self.shared.view.webhook(id).ok_or_else(|| not_found(Kind::Webhook, id.to_string()))?;
        self.secret_of(&record).await?.ok_or_else(|| {
            let missing = SecretError::Missing { owner: record.name.to_string() };
            CommandError::Secret { detail: missing.to_string() }
        })
    }

    /// The secret that a record names; none when it is not there, be it that another has taken its place since.
    pub async fn secret_of(&self, record: &Webhook) -> Result<Option<Secret>, CommandError> {
        match self.shared.webhooks.secrets.get(&record.secret_name()).await {
            Ok(secret) => Ok(Some(secret)),
            Err(SecretError::Missing { .. }) => Ok(None),
            Err(error) => Err(CommandError::Secret { detail: chain(&error) }),
        }
    }

    /// The webhook's dead letters, oldest first.
    pub async fn dead_letters(&self, webhook: &Webhook) -> Result<Vec<Letter>, CommandError> {
        let (journal, id) = (self.shared.journal.clone(), webhook.id);
        let numbers: Vec<u64> = webhook.dead.iter().map(|dead| dead.number).collect();
        let read = crate::ambient::blocking(move || read_letters(&journal, id, &numbers)).await;
        let failed = |detail| CommandError::Storage { detail, full: false };
        read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(&error)))
    }

    /// One POST that says that it is a test. It is no delivery: nothing of it is kept, and nothing depends on how it ends.
    pub async fn test_webhook(&self, webhook: &Webhook) -> Result<Outcome, CommandError> {
        let secret = self.webhook_secret(webhook.id).await?;
        let timeout = Duration::from_secs(u64::from(webhook.spec.timeout_s));
        let post = Post {
            url: webhook.spec.url.clone(),
            secret,
            webhook: webhook.id,
            number: 0,
            attempt: 1,
            at: crate::shared::now(),
            timeout,
            content: Content::Test { cursor: webhook.cursor },
        };
        // The port's own deadline is the one that tells why; this one only makes sure.
        tokio::time::timeout(timeout * 2, self.shared.webhooks.deliver.post(post)).await.map_err(|_| CommandError::Timeout)
    }

    /// Turns the operation back. It ends as cancelled when what it did is undone; until then it goes on.
    pub async fn cancel(&self, id: OperationId, who: Who) -> Result<Accepted<Arc<Operation>>, CommandError> {
        let known = self.shared.view.operation(id).ok_or_else(|| not_found(Kind::Operation, id.to_string()))?;
        let ended = || CommandError::NotCancellable(NotCancellable::Ended);
        if known.status.is_final() {
            return Err(ended());
        }
        match known.target.kind {
            Kind::Vm => {
                let vm = known.target.id.parse().map_err(|_| ended())?;
                self.command_vm(vm, Command::Cancel { operation: id }, who).await.map(|_| ())
            }
            Kind::Image => {
                let image = known.target.id.parse().map_err(|_| ended())?;
                self.command_image(image, ImageCommand::Cancel { operation: id }, who).await.map(|_| ())
            }
            // Nothing of these takes longer than a request.
            Kind::Host | Kind::Operation | Kind::Webhook => Err(ended()),
        }
        // Its target went with its end.
        .map_err(|error| if matches!(error, CommandError::NotFound { .. }) { ended() } else { error })?;
        Ok(Accepted { resource: self.shared.view.operation(id).unwrap_or(known), operation: Some(id) })
    }

    /// Whether the operation may be cancelled now, and why not.
    pub fn cancellable(&self, operation: &Operation) -> Result<(), NotCancellable> {
        let target = &operation.target.id;
        let view = &self.shared.view;
        match operation.target.kind {
            _ if operation.status.is_final() => Err(NotCancellable::Ended),
            Kind::Vm => match target.parse().ok().and_then(|id| view.vm(id)) {
                Some(row) => vm::cancel::admit(&row.record, operation.id),
                None => Err(NotCancellable::Ended),
            },
            Kind::Image => match target.parse().ok().and_then(|id| view.image(id)) {
                Some(image) => domain::image::cancellable(&image, operation.id),
                None => Err(NotCancellable::Ended),
            },
            Kind::Host | Kind::Operation | Kind::Webhook => Err(NotCancellable::Ended),
        }
    }

    /// The operation when it ended, or as it is when the time is up.
    pub async fn wait(&self, id: OperationId, at_most: Duration) -> Option<Arc<Operation>> {
        let known = self.shared.view.operation(id)?;
        if known.status.is_final() || at_most.is_zero() {
            return Some(known);
        }
        let operations = self.slots.operations.get()?;
        match operations.call(|reply_to| OperationsMsg::Wait { id, reply_to }, at_most).await {
            Ok(CallResult::Success(ended)) => Some(ended),
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => self.shared.view.operation(id),
        }
    }

    pub fn view(&self) -> &View {
        &self.shared.view
    }

    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// This node's own host.
    pub fn host(&self) -> HostId {
        self.shared.host
    }

    /// How many VMs boot from the image, and the first of them.
    pub fn users_of(&self, image: ImageId, most: usize) -> (usize, Vec<VmId>) {
        self.shared.image_use().users(image, most)
    }

    /// vCPUs and MiB that running VMs hold.
    pub fn held(&self) -> (u64, u64) {
        self.shared.ledger().held()
    }

    /// The session with the guest's agent. Refused when the VM's state allows none.
    pub async fn guest(&self, id: VmId) -> Result<Arc<dyn GuestSession>, CommandError> {
        let actor = self.vm_actor(id)?;
        ask(&actor, |reply_to| VmMsg::Guest { reply_to }).await.map(|(_, session)| session)
    }

    /// Connects to a port of the guest's vsock. Refused as [`Node::guest`] is, and where the host's driver has no vsock; `Guest` tells why it failed.
    pub async fn vsock(&self, id: VmId, port: u32) -> Result<Connection, CommandError> {
        let row = self.shared.view.vm(id).ok_or_else(|| not_found(Kind::Vm, id.to_string()))?;
        let offer = self.shared.view.offer(row.record.host);
        if let Some(Err(lacking)) = offer.map(|offer| offer.has(Capability::Vsock)) {
            return Err(CommandError::Vm(vm::actions::Refused::NotOffered(lacking)));
        }
        let mut table = vm::table(&row.record, offer).into_iter();
        if let Some((_, Some(refused))) = table.find(|(action, _)| *action == vm::Action::Exec) {
            return Err(CommandError::Vm(refused));
        }
        match row.record.state.machine() {
            None => Err(CommandError::Vm(vm::actions::Refused::NotRunning)),
            Some(machine) => self.shared.vmm.vsock(id, machine, port, CONNECT_WITHIN).await.map_err(CommandError::Guest),
        }
    }

    pub async fn console(&self, id: VmId, history_bytes: u64) -> Result<Box<dyn Console>, CommandError> {
        let row = self.shared.view.vm(id).ok_or_else(|| not_found(Kind::Vm, id.to_string()))?;
        if row.record.state.machine().is_none() {
            return Err(CommandError::Vm(vm::actions::Refused::NotRunning));
        }
        self.shared.vmm.console(id, history_bytes).await.map_err(vmm_error)
    }

    pub async fn console_log(&self, id: VmId, bytes: u64) -> Result<Vec<u8>, CommandError> {
        self.shared.vmm.console_log(id, bytes).await.map_err(vmm_error)
    }

    /// How the VM's process is confined; absent where it has none, or where that can't be told (within a second).
    pub async fn confinement(&self, id: VmId) -> Option<Confinement> {
        let row = self.shared.view.vm(id)?;
        // A process that was not let go yet is not confined yet.
        let machine = row.record.state.machine().filter(|_| !matches!(row.record.state, vm::State::Starting(_)))?;
        match tokio::time::timeout(LOOK_WITHIN, self.shared.vmm.confinement(id, machine)).await {
            Ok(Ok(confinement)) => confinement,
            // It has just ended: the state tells of that.
            Ok(Err(error)) => {
                tracing::debug!(%id, %error, "how the VMM is confined can't be told");
                None
            }
            Err(_) => None,
        }
    }

    /// The end of a process as far as one process can have it: every actor is killed where it stands, nothing is told to anyone.
    #[cfg(any(test, feature = "faults"))]
    pub async fn crash(&self) {
        if let Err(error) = self.root.actor().kill_and_wait(Some(ROOT_DEADLINE)).await {
            tracing::warn!(%error, "the root actor did not end");
        }
        // What the journal had taken is on its way to the disk, whoever is left to hear of it.
        self.shared.journal.close().await;
    }

    /// Kills the webhook's actor, wherever it is.
    #[cfg(any(test, feature = "faults"))]
    pub fn kill_webhook_actor(&self, id: WebhookId) -> Result<(), CommandError> {
        let webhooks = self.slots.webhooks.get().ok_or(CommandError::Restarting)?;
        webhooks.cast(WebhooksMsg::Kill { id }).map_err(|_| CommandError::Restarting)
    }

    /// Makes the VM's actor panic: what supervision is for is tested with it.
    #[cfg(any(test, feature = "faults"))]
    pub fn crash_vm_actor(&self, id: VmId) -> Result<(), CommandError> {
        self.vm_actor(id)?.cast(VmMsg::Crash).map_err(|_| CommandError::Restarting)
    }

    /// Makes the VM's actor hang in a handler, as if for longer than the supervisor bears.
    #[cfg(any(test, feature = "faults"))]
    pub fn hang_vm_actor(&self, id: VmId) -> Result<(), CommandError> {
        self.hang_vm_actor_since(id, crate::supervise::STALL_AFTER * 2)
    }

    /// The same, as if for so long.
    #[cfg(any(test, feature = "faults"))]
    pub fn hang_vm_actor_since(&self, id: VmId, since: Duration) -> Result<(), CommandError> {
        self.vm_actor(id)?.cast(VmMsg::Hang { since }).map_err(|_| CommandError::Restarting)
    }

    /// The actors of this name do not start any more, or do again.
    #[cfg(any(test, feature = "faults"))]
    pub fn refuse_start(&self, name: &str, refused: bool) {
        let mut unstartable = self.shared.unstartable.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if refused {
            unstartable.insert(name.to_owned());
        } else {
            unstartable.remove(name);
        }
    }

    /// Makes the image's actor panic.
    #[cfg(any(test, feature = "faults"))]
    pub fn crash_image_actor(&self, id: ImageId) {
        self.slots.images.tell(ImagesMsg::Crash { id });
    }

    /// Makes the supervisor of all VMs hang in a handler.
    #[cfg(any(test, feature = "faults"))]
    pub fn hang_vms(&self) -> Result<(), CommandError> {
        let vms = self.slots.vms.get().ok_or(CommandError::Restarting)?;
        vms.cast(VmsMsg::Hang { since: crate::supervise::STALL_AFTER * 2 }).map_err(|_| CommandError::Restarting)
    }

    /// Makes the supervisor of all VMs panic.
    #[cfg(any(test, feature = "faults"))]
    pub fn crash_vms(&self) -> Result<(), CommandError> {
        let vms = self.slots.vms.get().ok_or(CommandError::Restarting)?;
        vms.cast(VmsMsg::Crash).map_err(|_| CommandError::Restarting)
    }

    fn vm_actor(&self, id: VmId) -> Result<VmRef, CommandError> {
        if self.shared.view.vm(id).is_none() {
            return Err(not_found(Kind::Vm, id.to_string()));
        }
        self.slots.directory.get(id).ok_or(CommandError::Restarting)
    }

    /// A VM that was set aside gets its actor back, since someone wants something of it.
    async fn revive(&self, id: VmId) -> Result<(), CommandError> {
        if self.slots.rosters.vms.quarantined(id).is_none() {
            return Ok(());
        }
        let vms = self.slots.vms.get().ok_or(CommandError::Restarting)?;
        ask(&vms, |reply_to| VmsMsg::Restart { id, reply_to }).await
    }
}

pub(super) fn not_found(kind: Kind, reference: String) -> CommandError {
    CommandError::NotFound { kind, reference }
}

pub(super) fn vmm_error(error: host::vmm::VmmError) -> CommandError {
    CommandError::Vmm { detail: chain(&error) }
}

/// What belongs to this hearth but to no record is removed, and said.
async fn sweep(shared: &Shared, vms: &[Arc<Vm>], images: &[Arc<Image>], webhooks: &[Arc<Webhook>]) {
    let mut ids: Vec<VmId> = vms.iter().map(|vm| vm.id).collect();
    let mut taps: Vec<String> = vms.iter().flat_map(|vm| &vm.nics).map(|nic| nic.tap.clone()).collect();
    let secrets: Vec<String> = webhooks.iter().map(|webhook| webhook.secret_name()).collect();
    let mut image_ids: Vec<ImageId> = images.iter().map(|image| image.id).collect();
    // What a record that can't be read stands for is no rubbish: whoever repairs it, or starts the newer hearth that wrote it, wants its disk.
    let unread_webhooks: Vec<String> = match aside::set_aside(&shared.journal) {
        Ok(aside) => {
            taps.extend(aside.vms.iter().flat_map(|id| taps_of(*id)));
            ids.extend(aside.vms);
            image_ids.extend(aside.images);
            aside.webhooks.iter().map(ToString::to_string).collect()
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "what was set aside can't be read; nothing is swept");
            return;
        }
    };
    report("machines", shared.vmm.sweep(&ids).await.map_err(|error| chain(&error)));
    report("images", shared.images.sweep(&image_ids).await.map_err(|error| chain(&error)));
    report("secrets", shared.webhooks.secrets.sweep(&secrets, &unread_webhooks).await.map_err(|error| chain(&error)));
    if let Some(network) = &shared.network {
        report("network interfaces", network.sweep(&taps).await.map_err(|error| chain(&error)));
    }
}

fn report(what: &'static str, swept: Result<Vec<String>, String>) {
    match swept {
        Ok(removed) => {
            for thing in removed {
                tracing::warn!(what, thing, "belonged to no record and was removed");
            }
        }
        Err(error) => tracing::warn!(what, error, "could not be swept"),
    }
}
