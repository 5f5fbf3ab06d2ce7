//! The tree of live actors: who lives under whom, in which state, and what each is doing. Read from the rosters, which need no answer from
//! an actor that may be stuck.

use super::{facade::Node, root::RootMsg, root::Supervisor};
use crate::{
    ask::ask,
    error::CommandError,
    host::HostsMsg,
    image::ImagesMsg,
    operation::OperationsMsg,
    supervise::{ChildInfo, Going, Roster, STALL_AFTER, Seen, Summary},
    vm::VmsMsg,
    webhook::WebhooksMsg,
};
use std::{fmt::Display, str::FromStr, time::Duration};

/// Which actors are asked for.
#[derive(Debug, Clone)]
pub struct TreeQuery {
    /// All, not only those that somebody should look at.
    pub all: bool,
    /// Only under this supervisor: `vms`, `images`, `hosts`, `operations`, `webhooks`.
    pub kind: Option<String>,
    pub limit: usize,
    /// Behind the actor of this name.
    pub after: Option<String>,
}

/// What an actor does, and for how long already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    pub what: &'static str,
    pub lasts: Duration,
}

/// One live actor, for people who look after a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorInfo {
    pub name: String,
    pub parent: Option<String>,
    /// `running`, `stalled` (stuck in a handler), `overdue` (its effect takes too long), `restarting`, `quarantined`.
    pub state: &'static str,
    pub restarts: u32,
    pub last_error: Option<String>,
    /// Messages that wait.
    pub mailbox: u64,
    /// The message that it handles.
    pub message: Option<Doing>,
    /// What its handler waits for.
    pub waits_for: Option<Doing>,
    /// What is carried out for it beside its mailbox.
    pub effect: Option<Doing>,
}

/// The actors of one kind, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindInfo {
    pub kind: &'static str,
    pub actors: u64,
    pub stalled: u64,
    pub overdue: u64,
    pub restarting: u64,
    pub quarantined: u64,
    /// Of those that live.
    pub restarts: u64,
    /// Messages that wait in all their mailboxes.
    pub mailbox: u64,
}

#[derive(Debug, Clone)]
pub struct Tree {
    pub kinds: Vec<KindInfo>,
    /// The root and the supervisors (on the first page), then the kinds in their order, by id.
    pub actors: Vec<ActorInfo>,
    /// The name to go on behind, when there are more.
    pub next: Option<String>,
}

const ROOT: &str = "node";

impl Node {
    /// A page of the tree. The work is that of counting: some milliseconds for 100,000 actors.
    pub fn tree(&self, query: &TreeQuery) -> Tree {
        let rosters = &self.slots.rosters;
        let mut actors = Vec::new();
        if query.after.is_none() {
            actors.push(actor(ROOT.to_owned(), None, root_state(self.root.progress().seen()), self.root.progress().seen()));
            let supervisors = rosters.supervisors.list(None, Supervisor::ALL.len(), |_| true);
            actors.extend(supervisors.into_iter().map(|child| info(child.key.name(), ROOT, child)));
        }
        let (most, mut next) = (actors.len() + query.limit, None);
        let mut found = Found { query, actors, most, next: &mut next };
        found.kind(Supervisor::Operations, &rosters.operations);
        found.kind(Supervisor::Hosts, &rosters.hosts);
        found.kind(Supervisor::Images, &rosters.images);
        found.kind(Supervisor::Vms, &rosters.vms);
        found.kind(Supervisor::Webhooks, &rosters.webhooks);
        let actors = found.actors;
        let kinds = vec![
            numbers(Supervisor::Vms, rosters.vms.summary()),
            numbers(Supervisor::Images, rosters.images.summary()),
            numbers(Supervisor::Hosts, rosters.hosts.summary()),
            numbers(Supervisor::Operations, rosters.operations.summary()),
            numbers(Supervisor::Webhooks, rosters.webhooks.summary()),
        ];
        Tree { kinds, actors, next }
    }

    /// One actor of the tree.
    pub fn actor(&self, name: &str) -> Option<ActorInfo> {
        let rosters = &self.slots.rosters;
        let supervisors = rosters.supervisors.list(None, Supervisor::ALL.len(), |_| true);
        if name == ROOT {
            let seen = self.root.progress().seen();
            return Some(actor(ROOT.to_owned(), None, root_state(seen), seen));
        }
        let supervisor = supervisors.into_iter().find(|child| child.key.name() == name);
        supervisor
            .map(|child| info(child.key.name(), ROOT, child))
            .or_else(|| one(name, "operations", &rosters.operations))
            .or_else(|| one(name, "hosts", &rosters.hosts))
            .or_else(|| one(name, "images", &rosters.images))
            .or_else(|| one(name, "vms", &rosters.vms))
            .or_else(|| one(name, "webhooks", &rosters.webhooks))
    }

    /// Kills an actor at whatever await it is; it is no one's wish and counts as a failure. Answers whether there was one. The children of a
    /// supervisor go first, in order: ractor would end them in that of a hash map, which no simulation could repeat.
    #[cfg(any(test, feature = "faults"))]
    pub fn kill_actor(&self, name: &str) -> bool {
        fn killed<K: Copy + Ord + FromStr>(name: &str, roster: &Roster<K>) -> bool {
            name.parse().is_ok_and(|key| roster.kill(key))
        }
        let rosters = &self.slots.rosters;
        let Some(supervisor) = Supervisor::ALL.into_iter().find(|supervisor| supervisor.name() == name) else {
            return killed(name, &rosters.operations)
                || killed(name, &rosters.hosts)
                || killed(name, &rosters.images)
                || killed(name, &rosters.vms)
                || killed(name, &rosters.webhooks);
        };
        match supervisor {
            Supervisor::Operations => rosters.operations.kill_all(),
            Supervisor::Hosts => rosters.hosts.kill_all(),
            Supervisor::Images => rosters.images.kill_all(),
            Supervisor::Vms => rosters.vms.kill_all(),
            Supervisor::Webhooks => rosters.webhooks.kill_all(),
        }
        rosters.supervisors.kill(supervisor)
    }

    /// Starts an actor again on someone's wish: one that was set aside, waits for its turn, or lives. It has its whole budget of restarts.
    pub async fn restart_actor(&self, name: &str) -> Result<ActorInfo, CommandError> {
        let unknown = || CommandError::NoActor { name: name.to_owned() };
        if self.actor(name).is_none() {
            return Err(unknown());
        }
        if let Some(supervisor) = Supervisor::ALL.into_iter().find(|supervisor| supervisor.name() == name) {
            self.root.cast(RootMsg::Restart(supervisor)).map_err(|_| CommandError::Restarting)?;
        } else if let Ok(id) = name.parse() {
            let vms = self.slots.vms.get().ok_or(CommandError::Restarting)?;
            ask(&vms, |reply_to| VmsMsg::Restart { id, reply_to }).await?;
        } else if let Ok(id) = name.parse() {
            self.slots.images.tell(ImagesMsg::Restart { id });
        } else if let Ok(id) = name.parse() {
            self.slots.webhooks.tell(WebhooksMsg::Restart { id });
        } else if let Ok(id) = name.parse() {
            self.slots.operations.tell(OperationsMsg::Restart { id });
        } else if name.parse() == Ok(self.host()) {
            self.slots.hosts.tell(HostsMsg::Restart);
        } else {
            // The root is what restarts; it ends with the server alone.
            return Err(unknown());
        }
        self.actor(name).ok_or_else(unknown)
    }
}

/// A page in the making.
struct Found<'a> {
    query: &'a TreeQuery,
    actors: Vec<ActorInfo>,
    most: usize,
    next: &'a mut Option<String>,
}

impl Found<'_> {
    fn kind<K: Copy + Ord + Display + FromStr>(&mut self, supervisor: Supervisor, roster: &Roster<K>) {
        let kind = supervisor.name();
        if self.next.is_some() || self.query.kind.as_deref().is_some_and(|wanted| wanted != kind) {
            return;
        }
        let after = match &self.query.after {
            None => None,
            Some(name) => match name.parse() {
                Ok(key) => Some(key),
                // A name of a kind further on: this one is done. One of a kind before: from the first.
                Err(_) if rank_of(name) > supervisor => return,
                Err(_) => None,
            },
        };
        let room = self.most.saturating_sub(self.actors.len());
        let wanted = |child: &ChildInfo<K>| self.query.all || child.is_unusual();
        let mut found = roster.list(after, room + 1, wanted);
        let more = found.len() > room;
        found.truncate(room);
        self.actors.extend(found.into_iter().map(|child| info(&child.key.to_string(), kind, child)));
        if more {
            *self.next = self.actors.last().map(|actor| actor.name.clone());
        }
    }
}

/// Under which supervisor an actor of that name is.
fn rank_of(name: &str) -> Supervisor {
    match name.split('_').next() {
        Some(domain::OperationId::PREFIX) => Supervisor::Operations,
        Some(domain::HostId::PREFIX) => Supervisor::Hosts,
        Some(domain::ImageId::PREFIX) => Supervisor::Images,
        Some(domain::WebhookId::PREFIX) => Supervisor::Webhooks,
        _ => Supervisor::Vms,
    }
}

fn one<K: Copy + Ord + Display + FromStr>(name: &str, parent: &'static str, roster: &Roster<K>) -> Option<ActorInfo> {
    let key: K = name.parse().ok()?;
    Some(info(name, parent, roster.get(key)?))
}

fn info<K>(name: &str, parent: &str, child: ChildInfo<K>) -> ActorInfo {
    ActorInfo {
        restarts: child.restarts,
        last_error: child.last_error,
        ..actor(name.to_owned(), Some(parent.to_owned()), child.state, child.seen)
    }
}

fn actor(name: String, parent: Option<String>, state: &'static str, seen: Seen) -> ActorInfo {
    let doing = |going: Going| Doing { what: going.what, lasts: going.lasts };
    ActorInfo {
        name,
        parent,
        state,
        restarts: 0,
        last_error: None,
        mailbox: seen.mailbox,
        message: seen.message.map(doing),
        waits_for: seen.waits_for.map(doing),
        effect: seen.effect.map(doing),
    }
}

fn root_state(seen: Seen) -> &'static str {
    if seen.message.is_some_and(|message| message.lasts > STALL_AFTER) { "stalled" } else { "running" }
}

fn numbers(supervisor: Supervisor, summary: Summary) -> KindInfo {
    KindInfo {
        kind: supervisor.name(),
        actors: summary.children,
        stalled: summary.stalled,
        overdue: summary.overdue,
        restarting: summary.restarting,
        quarantined: summary.quarantined,
        restarts: summary.restarts,
        mailbox: summary.mailbox,
    }
}
