//! The view: the newest committed records in memory, for lists and look-ups. Written by the owning actors after each commit and read by
//! everyone; never a truth of its own.

mod ids;
mod index;
mod table;

use domain::{
    HostId, ImageId, Labels, Name, OperationId, Timestamp, VmId, WebhookId,
    host::{Host, Offer},
    image::Image,
    operation::Operation,
    vm::{Hold, Vm},
    webhook::Webhook,
};
use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use table::Table;
pub use table::{Page, Row};

/// A VM's record, and what is known of it that no record keeps.
#[derive(Debug, Clone)]
pub struct VmView {
    pub record: Arc<Vm>,
    pub agent: Option<Arc<AgentView>>,
    /// Since when the machine runs, as far as this hearth saw it; of an adopted one, when its record last changed.
    pub started_at: Option<Timestamp>,
    /// Its VMM holds it for want of room on the host's disk.
    pub hold: Option<Hold>,
}

/// The guest's agent, as it said hello last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    pub connected: bool,
    pub version: String,
    pub kernel: String,
    pub last_seen: Timestamp,
    pub addresses: Vec<IpAddr>,
}

impl Row for VmView {
    type Key = VmId;
    fn key(&self) -> VmId {
        self.record.id
    }
    fn name(&self) -> (&Name, &Name) {
        (&self.record.project, &self.record.name)
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.record.labels)
    }
    fn state(&self) -> &'static str {
        self.record.state.name()
    }
}

impl Row for Arc<Image> {
    type Key = ImageId;
    fn key(&self) -> ImageId {
        self.id
    }
    fn name(&self) -> (&Name, &Name) {
        (&self.project, &self.name)
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &'static str {
        self.state.name()
    }
}

/// Hosts belong to no project; they are found under their own name in place of one.
impl Row for Arc<Host> {
    type Key = HostId;
    fn key(&self) -> HostId {
        self.id
    }
    fn name(&self) -> (&Name, &Name) {
        (&self.name, &self.name)
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &'static str {
        self.state.name()
    }
}

/// An operation is found by its id alone; as its name counts its target's.
impl Row for Arc<Operation> {
    type Key = OperationId;
    const NAMES_ARE_UNIQUE: bool = false;
    fn key(&self) -> OperationId {
        self.id
    }
    fn name(&self) -> (&Name, &Name) {
        (&self.project, &self.target.name)
    }
    fn labels(&self) -> Option<&Labels> {
        None
    }
    fn state(&self) -> &'static str {
        self.status.as_str()
    }
}

impl Row for Arc<Webhook> {
    type Key = WebhookId;
    fn key(&self) -> WebhookId {
        self.id
    }
    fn name(&self) -> (&Name, &Name) {
        (&self.project, &self.name)
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &'static str {
        self.state.name()
    }
}

#[derive(Default)]
pub struct View {
    vms: RwLock<Table<VmView>>,
    images: RwLock<Table<Arc<Image>>>,
    hosts: RwLock<Table<Arc<Host>>>,
    operations: RwLock<Table<Arc<Operation>>>,
    webhooks: RwLock<Table<Arc<Webhook>>>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl View {
    pub fn vm(&self, id: VmId) -> Option<VmView> {
        read(&self.vms).get(&id).cloned()
    }

    pub fn find_vm(&self, project: &Name, name: &Name) -> Option<VmId> {
        read(&self.vms).find(project, name)
    }

    /// A page in the order of ids, and whether more follow.
    pub fn vms(&self, page: &Page<VmId>) -> (Vec<VmView>, bool) {
        read(&self.vms).page(page)
    }

    /// How many VMs are in each state.
    pub fn vms_by_state(&self) -> Vec<(&'static str, usize)> {
        read(&self.vms).by_state()
    }

    pub fn vm_count(&self) -> usize {
        read(&self.vms).len()
    }

    pub fn image(&self, id: ImageId) -> Option<Arc<Image>> {
        read(&self.images).get(&id).cloned()
    }

    pub fn find_image(&self, project: &Name, name: &Name) -> Option<ImageId> {
        read(&self.images).find(project, name)
    }

    pub fn images(&self, page: &Page<ImageId>) -> (Vec<Arc<Image>>, bool) {
        read(&self.images).page(page)
    }

    /// The newest ready kernel that is marked as the default.
    pub fn default_kernel(&self) -> Option<Arc<Image>> {
        let ready = |image: &&Arc<Image>| image.spec.default && matches!(image.state, domain::image::State::Ready(_));
        read(&self.images).rows().filter(ready).max_by_key(|image| (image.created_at, image.id)).cloned()
    }

    pub fn host(&self, id: HostId) -> Option<Arc<Host>> {
        read(&self.hosts).get(&id).cloned()
    }

    /// What that host's driver can do; nothing while it is not known.
    pub fn offer(&self, host: HostId) -> Option<Offer> {
        read(&self.hosts).get(&host).map(|host| host.facts.offer())
    }

    pub fn find_host(&self, name: &Name) -> Option<HostId> {
        read(&self.hosts).find(name, name)
    }

    pub fn hosts(&self, page: &Page<HostId>) -> (Vec<Arc<Host>>, bool) {
        read(&self.hosts).page(page)
    }

    pub fn operation(&self, id: OperationId) -> Option<Arc<Operation>> {
        read(&self.operations).get(&id).cloned()
    }

    pub fn operations(&self, page: &Page<OperationId>) -> (Vec<Arc<Operation>>, bool) {
        read(&self.operations).page(page)
    }

    pub fn webhook(&self, id: WebhookId) -> Option<Arc<Webhook>> {
        read(&self.webhooks).get(&id).cloned()
    }

    pub fn find_webhook(&self, project: &Name, name: &Name) -> Option<WebhookId> {
        read(&self.webhooks).find(project, name)
    }

    pub fn webhooks(&self, page: &Page<WebhookId>) -> (Vec<Arc<Webhook>>, bool) {
        read(&self.webhooks).page(page)
    }

    pub(crate) fn put_webhook(&self, row: Arc<Webhook>) {
        write(&self.webhooks).put(row);
    }

    pub(crate) fn drop_webhook(&self, id: WebhookId) {
        write(&self.webhooks).remove(&id);
    }

    pub(crate) fn put_vm(&self, row: VmView) {
        write(&self.vms).put(row);
    }

    /// Changes what no record keeps of a VM that is still there.
    pub(crate) fn touch_vm(&self, id: VmId, change: impl FnOnce(&mut VmView)) {
        write(&self.vms).touch(&id, change);
    }

    pub(crate) fn drop_vm(&self, id: VmId) {
        write(&self.vms).remove(&id);
    }

    pub(crate) fn put_image(&self, row: Arc<Image>) {
        write(&self.images).put(row);
    }

    pub(crate) fn drop_image(&self, id: ImageId) {
        write(&self.images).remove(&id);
    }

    pub(crate) fn put_host(&self, row: Arc<Host>) {
        write(&self.hosts).put(row);
    }

    pub(crate) fn put_operation(&self, row: Arc<Operation>) {
        write(&self.operations).put(row);
    }

    pub(crate) fn drop_operation(&self, id: OperationId) {
        write(&self.operations).remove(&id);
    }
}
