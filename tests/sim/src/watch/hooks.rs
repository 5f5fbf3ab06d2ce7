//! Webhooks: what their records, their dead letters and their receivers say of the log, taken together.
//!
//! Whatever a webhook's cursor has passed was wanted by nobody, was taken by its receiver, or is set aside, or the receiver was told that it is
//! lost. The cursor does not move back.

use super::table;
use crate::{machine::Machine, node::SimNode};
use actors::{decode_event, view::Page};
use domain::{
    Generation, WebhookId,
    event::Event,
    webhook::{BecauseOf, DeadLetter, State, Webhook, invariant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use storage::schema;

#[derive(Default)]
pub struct Hooks {
    /// All that were ever told; number 1 is the first.
    events: Vec<Option<Event>>,
    records: BTreeMap<WebhookId, Webhook>,
    /// Events that are or were set aside.
    dead: BTreeSet<(WebhookId, u64)>,
    /// Up to here that events are lost is set aside, too.
    lost_dead: BTreeMap<WebhookId, u64>,
}

impl Hooks {
    pub fn generation(&self, id: &str) -> Option<Generation> {
        self.records.get(&id.parse().ok()?).map(|webhook| webhook.generation)
    }

    /// After a batch.
    pub fn look(&mut self, machine: &Machine, broken: &mut Vec<String>) {
        let told = machine.disk.told_after(self.events.len() as u64);
        self.events.extend(told.into_iter().map(|(_, bytes)| decode_event(&bytes).ok()));
        self.letters(machine, broken);
        let now: BTreeMap<WebhookId, Webhook> =
            table::<Webhook>(machine, schema::WEBHOOKS, broken).into_iter().map(|webhook| (webhook.id, webhook)).collect();
        for webhook in now.values() {
            if let Err(error) = invariant::check(webhook) {
                broken.push(format!("{}: {error}", webhook.id));
            }
            // Its secret is stored before the record that names it, and removed after the last one.
            if webhook.state == State::Disabled(BecauseOf::Secret) {
                broken.push(format!("{} has lost its secret", webhook.id));
            }
            if let Some(before) = self.records.get(&webhook.id) {
                self.passed(machine, before, webhook, broken);
            }
        }
        self.records = now;
    }

    /// Letters, and their events, as the log had them.
    fn letters(&mut self, machine: &Machine, broken: &mut Vec<String>) {
        let events: BTreeMap<String, Vec<u8>> = machine.disk.records(schema::WEBHOOK_DEAD_EVENTS).into_iter().collect();
        for letter in table::<DeadLetter>(machine, schema::WEBHOOK_DEAD_LETTERS, broken) {
            if letter.cursors.is_empty() {
                let upto = self.lost_dead.entry(letter.webhook).or_default();
                *upto = letter.upto.max(*upto);
            }
            for (place, cursor) in letter.cursors.iter().enumerate() {
                self.dead.insert((letter.webhook, *cursor));
                let kept = events.get(&format!("{}/{:020}/{place:05}", letter.webhook, letter.number));
                if kept.is_none() || kept.cloned() != machine.disk.told(*cursor) {
                    broken.push(format!("dead letter {} of {} lacks event {cursor}", letter.number, letter.webhook));
                }
            }
        }
    }

    /// What lies between two cursors of a webhook. What its filter wanted on both sides of a change was wanted.
    fn passed(&self, machine: &Machine, before: &Webhook, after: &Webhook, broken: &mut Vec<String>) {
        if after.cursor < before.cursor {
            broken.push(format!("the cursor of {} moves back from {} to {}", after.id, before.cursor, after.cursor));
        }
        let state = machine.state();
        let inbox = state.receivers.inbox(after.id);
        let lost = inbox.map_or(0, |inbox| inbox.lost_upto).max(self.lost_dead.get(&after.id).copied().unwrap_or(0));
        for cursor in before.cursor.max(lost) + 1..=after.cursor {
            let wanted = self.wants(before, cursor) && self.wants(after, cursor);
            let taken = inbox.is_some_and(|inbox| inbox.taken.contains(&cursor));
            if wanted && !taken && !self.dead.contains(&(after.id, cursor)) {
                broken.push(format!("{} passes event {cursor}, which nobody has", after.id));
            }
        }
    }

    fn wants(&self, webhook: &Webhook, cursor: u64) -> bool {
        match cursor.checked_sub(1).and_then(|place| self.events.get(place as usize)) {
            Some(Some(event)) => webhook.spec.filter.wants(webhook.id, event),
            Some(None) => true,
            None => false,
        }
    }

    /// Every webhook that may deliver has delivered.
    pub fn is_quiet(&self) -> bool {
        self.records.values().all(|webhook| match webhook.state {
            State::Disabled(_) => true,
            State::Following => {
                webhook.redeliver.is_empty()
                    && (webhook.cursor + 1..=self.events.len() as u64).all(|cursor| !self.wants(webhook, cursor))
            }
            State::Sending(_) | State::Waiting { .. } => false,
        })
    }

    /// Once all is quiet. `swept`: the node has started since, and no webhook was made or changed.
    pub fn settled(&self, machine: &Machine, node: &SimNode, swept: bool, broken: &mut Vec<String>) {
        if !self.is_quiet() {
            let states: Vec<_> = self.records.values().map(|webhook| (webhook.id, webhook.cursor, &webhook.state)).collect();
            broken.push(format!("webhooks do not come to rest: {states:?}, and {} is the last event", self.events.len()));
        }
        let Some(up) = node.node() else { return };
        let (rows, _) = up.view().webhooks(&Page::first(1_000));
        let shown: BTreeMap<WebhookId, &Webhook> = rows.iter().map(|row| (row.id, Arc::as_ref(row))).collect();
        if shown != self.records.iter().map(|(id, webhook)| (*id, webhook)).collect() {
            broken.push("the view shows other webhooks than the journal has".to_owned());
        }
        let named: BTreeSet<String> = self.records.values().map(Webhook::secret_name).collect();
        let there: BTreeSet<String> = machine.state().secrets.keys().cloned().collect();
        if !named.is_subset(&there) || swept && named != there {
            broken.push(format!("the secrets {there:?} are there, and {named:?} are named"));
        }
    }
}
