//! What is true of every webhook at any time.

use super::state::{DEAD_LETTERS_MAX, State, Webhook, What};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("more dead letters than are kept")]
    TooManyDead,
    #[error("dead letters are in the order of their numbers, each once, none newer than the newest delivery")]
    DeadOrder,
    #[error("what is to be sent again is a dead letter, each once")]
    Redelivery,
    #[error("nothing is to be sent again by a webhook that is disabled")]
    DisabledWorks,
    #[error("a delivery begins where the last one ended, and holds something")]
    Gap,
    #[error("a dead letter that is being sent is the first that was asked for")]
    DeadTurn,
    #[error("a delivery has a number that was given")]
    Number,
}

pub fn check(webhook: &Webhook) -> Result<(), Broken> {
    if webhook.dead.len() > DEAD_LETTERS_MAX {
        return Err(Broken::TooManyDead);
    }
    let rising = webhook.dead.windows(2).all(|pair| pair[0].number < pair[1].number);
    if !rising || webhook.dead.last().is_some_and(|last| last.number > webhook.deliveries) {
        return Err(Broken::DeadOrder);
    }
    let is_dead = |number: &u64| webhook.dead.iter().any(|dead| dead.number == *number);
    let once = webhook.redeliver.iter().enumerate().all(|(at, number)| !webhook.redeliver[..at].contains(number));
    if !once || !webhook.redeliver.iter().all(is_dead) {
        return Err(Broken::Redelivery);
    }
    if matches!(webhook.state, State::Disabled(_)) && !webhook.redeliver.is_empty() {
        return Err(Broken::DisabledWorks);
    }
    let Some(delivery) = webhook.state.delivery() else { return Ok(()) };
    if delivery.number == 0 || delivery.number > webhook.deliveries {
        return Err(Broken::Number);
    }
    match delivery.what {
        What::Events { after, upto, count } if after != webhook.cursor || upto <= after || count == 0 => Err(Broken::Gap),
        What::Resync { upto } if upto < webhook.cursor => Err(Broken::Gap),
        What::Dead { .. } if webhook.redeliver.first() != Some(&delivery.number) => Err(Broken::DeadTurn),
        What::Events { .. } | What::Resync { .. } | What::Dead { .. } => Ok(()),
    }
}
