//! How webhooks and their dead letters are shown.

use crate::cli::{
    context::Context,
    error::CliError,
    facts::Facts,
    filter::ListArgs,
    output,
    style::of_state,
    table::{Cell, Table},
    units,
};
use api::v1::{DeadLetter, List, Webhook};

pub fn list(context: &Context, args: &ListArgs, webhooks: &[Webhook]) -> Result<(), CliError> {
    if args.quiet {
        return webhooks.iter().try_for_each(|webhook| output::line(&webhook.id));
    }
    if context.json() {
        return output::json(&webhooks);
    }
    let now = jiff::Timestamp::now();
    let mut table = Table::new(&["NAME", "STATE", "DELIVERED", "BEHIND", "DEAD", "URL", "AGE"]);
    for webhook in webhooks {
        let state = webhook.status.state.as_str();
        table.row(vec![
            webhook.name.as_str().into(),
            Cell::coloured(state, of_state(state)),
            webhook.status.delivered.to_string().into(),
            webhook.status.behind.to_string().into(),
            webhook.status.dead_letters.to_string().into(),
            webhook.spec.url.as_str().into(),
            units::age(webhook.created_at, now).into(),
        ]);
    }
    output::table(&table)
}

pub fn show(context: &Context, webhooks: &[Webhook]) -> Result<(), CliError> {
    if context.json() {
        return if let [webhook] = webhooks { output::json(webhook) } else { output::json(&webhooks) };
    }
    for (index, webhook) in webhooks.iter().enumerate() {
        let (spec, status) = (&webhook.spec, &webhook.status);
        let mut facts = Facts::new();
        facts.add("name", &webhook.name);
        facts.add("id", &webhook.id);
        facts.add("url", &spec.url);
        facts.state(status.state.as_str(), status.reason.as_ref());
        let kinds: Vec<String> = spec.filter.kinds.iter().map(|kind| format!("{kind:?}").to_ascii_lowercase()).collect();
        for (name, words) in [("kinds", &kinds), ("types", &spec.filter.types), ("ids", &spec.filter.ids)] {
            facts.maybe(name, (!words.is_empty()).then(|| words.join(" ")).as_deref());
        }
        facts.maybe("of project", spec.filter.project.as_deref());
        facts.add("timeout", &format!("{} s", spec.timeout_s));
        facts.add("retried for", &format!("{} s", spec.retry_for_s));
        facts.add("cursor", &format!("{}, {} behind", status.cursor, status.behind));
        facts.add("delivered", &status.delivered.to_string());
        if let Some(success) = &status.last_success {
            facts.add("last success", &format!("delivery {} at {}", success.delivery, success.at));
        }
        if let Some(failure) = &status.last_failure {
            let text =
                format!("delivery {} at {}, attempt {}: {}", failure.delivery, failure.at, failure.attempts, failure.detail);
            facts.add("last failure", &text);
        }
        facts.maybe("next attempt", status.next_attempt_at.map(|at| at.to_string()).as_deref());
        facts.add("dead letters", &dead(webhook));
        facts.labels(&webhook.labels);
        facts.add("created", &webhook.created_at.to_string());
        facts.print(index > 0)?;
    }
    Ok(())
}

fn dead(webhook: &Webhook) -> String {
    let status = &webhook.status;
    let mut text = status.dead_letters.to_string();
    if status.redelivering > 0 {
        text.push_str(&format!(", {} being sent again", status.redelivering));
    }
    if status.dead_letters_dropped > 0 {
        text.push_str(&format!(", {} older ones gone", status.dead_letters_dropped));
    }
    text
}

pub fn letters(context: &Context, letters: &List<DeadLetter>) -> Result<(), CliError> {
    if context.json() {
        return output::json(&letters.items);
    }
    let now = jiff::Timestamp::now();
    let mut table = Table::new(&["DELIVERY", "EVENTS", "CURSORS", "ATTEMPTS", "AGE", "WHY"]);
    for letter in &letters.items {
        let cursors = match letter.events.as_slice() {
            [] => String::new(),
            [one] => one.cursor.to_string(),
            [first, .., last] => format!("{} to {}", first.cursor, last.cursor),
        };
        table.row(vec![
            letter.delivery.to_string().into(),
            letter.events.len().to_string().into(),
            cursors.into(),
            letter.attempts.to_string().into(),
            units::age(letter.set_aside_at, now).into(),
            letter.detail.as_str().into(),
        ]);
    }
    output::table(&table)
}
