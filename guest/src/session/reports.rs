//! What the agent says unasked while a session is on: samples at the pace asked for, addresses when they change.
use super::Outbox;
use crate::{kmsg, metrics, network};
use api::guest::AgentMessage;
use std::time::Duration;
use tokio::{sync::watch, time::timeout};

/// Runs as long as the session.
pub async fn run(outbox: &Outbox, pace: watch::Receiver<Duration>) {
    tokio::join!(samples(outbox, pace), addresses(outbox));
}

async fn samples(outbox: &Outbox, mut pace: watch::Receiver<Duration>) {
    loop {
        outbox.hint(0, &AgentMessage::Metrics(Box::new(metrics::sample())));
        let wait = *pace.borrow_and_update();
        // Another pace counts from now on.
        if let Ok(Err(_)) = timeout(wait, pace.changed()).await {
            return;
        }
    }
}

async fn addresses(outbox: &Outbox) {
    let changes = match network::Changes::open() {
        Ok(changes) => changes,
        Err(error) => return kmsg::log(&format!("changes of the network can't be heard of: {error}")),
    };
    let mut said = None;
    loop {
        if let Ok(interfaces) = network::report()
            && said.as_ref() != Some(&interfaces)
        {
            outbox.control(0, &AgentMessage::Addresses { interfaces: interfaces.clone() }).await;
            said = Some(interfaces);
        }
        if changes.next().await.is_err() {
            return;
        }
    }
}
