//! Users who want webhooks: made, changed, disabled, deleted, and their dead letters sent again.

use super::{NAMES, Wish, project};
use crate::chance::Chance;
use actors::{NewWebhook, Node, view::Page};
use domain::{
    Labels, WebhookId,
    event::Kind,
    webhook::{Change, Command, Filter, Webhook, WebhookSpec},
};
use host::secret::Secret;
use std::sync::Arc;

/// More than that are no other than these.
const MOST: usize = 3;

pub fn secret(number: u64) -> Secret {
    Secret::new(number.to_le_bytes().to_vec())
}

pub fn wish(chance: &mut Chance, node: &Node, asked: u64) -> Option<Wish> {
    let (all, _) = node.view().webhooks(&Page::first(100));
    let kind = chance.draw() % 100;
    if all.is_empty() || all.len() < MOST && kind < 40 {
        let name = chance.one_of(&NAMES)?.parse().ok()?;
        let spec = WebhookSpec {
            url: "http://receiver/".to_owned(),
            filter: filter(chance),
            timeout_s: chance.between(1, 30) as u32,
            retry_for_s: retry_for_s(chance),
        };
        let after = match chance.draw() % 3 {
            0 => None,
            1 => Some(0),
            _ => Some(chance.between(1, 40)),
        };
        let labels = Labels::from([("key".to_owned(), format!("key-{asked}"))]);
        let enabled = chance.hits(900);
        let new = NewWebhook { name, project: project(), labels, spec, secret: secret(asked), after, enabled };
        return Some(Wish::Webhook(Box::new(new)));
    }
    let webhook = Arc::clone(chance.one_of(&all)?);
    let new_secret = (75..85).contains(&kind);
    let command = command(chance, &webhook, kind);
    let if_match = chance.hits(100).then_some(webhook.generation);
    let id: WebhookId = webhook.id;
    Some(Wish::CommandWebhook { id, command, secret: new_secret.then(|| secret(asked)), if_match })
}

fn command(chance: &mut Chance, webhook: &Webhook, kind: u64) -> Command {
    let update = match kind {
        0..50 => Change { enabled: Some(true), ..Change::default() },
        50..60 => Change { filter: Some(filter(chance)), ..Change::default() },
        60..66 => Change { retry_for_s: Some(retry_for_s(chance)), ..Change::default() },
        66..70 => Change { enabled: Some(false), ..Change::default() },
        70..75 => Change { name: chance.one_of(&NAMES).and_then(|name| name.parse().ok()), ..Change::default() },
        75..85 => Change::default(),
        85..96 => {
            let one = chance.one_of(&webhook.dead).map(|dead| dead.number);
            return Command::Redeliver { numbers: one.into_iter().collect() };
        }
        _ => return Command::Delete,
    };
    Command::Update(update)
}

fn filter(chance: &mut Chance) -> Filter {
    match chance.draw() % 5 {
        0 => Filter { kinds: vec![Kind::Vm], ..Filter::default() },
        1 => Filter { kinds: vec![Kind::Operation, Kind::Webhook], ..Filter::default() },
        2 => Filter { types: vec!["vm-started".to_owned(), "vm-exited".to_owned()], ..Filter::default() },
        _ => Filter::default(),
    }
}

/// From none to a week.
fn retry_for_s(chance: &mut Chance) -> u32 {
    *chance.one_of(&[0, 2, 60, 3_600, 7 * 24 * 3_600]).unwrap_or(&0)
}
