//! The link to the guest's agent, as the VM's actor sees it: the session of the current launch, and what of it is shown.

use crate::{
    shared::{Shared, now},
    view::AgentView,
};
use domain::{Attempt, VmId};
use host::guest::GuestSession;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct GuestLink {
    session: Option<(Attempt, Arc<dyn GuestSession>)>,
}

impl GuestLink {
    pub fn session(&self) -> Option<Arc<dyn GuestSession>> {
        self.session.as_ref().map(|(_, session)| Arc::clone(session))
    }

    /// A session was made. Answers whether it is of a launch that may still be the current one.
    pub fn up(&mut self, shared: &Shared, id: VmId, launch: Attempt, session: Arc<dyn GuestSession>) -> bool {
        if self.session.as_ref().is_some_and(|(known, _)| *known > launch) {
            return false;
        }
        let info = session.info();
        let agent = AgentView {
            connected: true,
            version: info.agent_version,
            kernel: info.kernel_release,
            last_seen: now(),
            addresses: addresses(&session),
        };
        self.session = Some((launch, session));
        shared.view.touch_vm(id, |row| row.agent = Some(Arc::new(agent)));
        true
    }

    pub fn down(&mut self, shared: &Shared, id: VmId, launch: Attempt) {
        if self.session.as_ref().is_some_and(|(known, _)| *known == launch) {
            self.session = None;
        }
        shared.view.touch_vm(id, |row| {
            if let Some(agent) = &row.agent {
                row.agent = Some(Arc::new(AgentView { connected: false, last_seen: now(), ..AgentView::clone(agent) }));
            }
        });
    }

    /// The machine is another one, or none.
    pub fn forget(&mut self, shared: &Shared, id: VmId) {
        self.session = None;
        shared.view.touch_vm(id, |row| row.agent = None);
    }
}

fn addresses(session: &Arc<dyn GuestSession>) -> Vec<std::net::IpAddr> {
    let all = session.reported_addresses().into_iter().flat_map(|interface| interface.addresses).map(|address| address.address);
    all.filter(|address| !super::perform::is_link_local(address)).collect()
}
