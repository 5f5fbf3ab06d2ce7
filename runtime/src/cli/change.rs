//! Changing one or several things: ask, wait for the operations, tell how it ended. Knows no noun.
//!
//! Names are worked on side by side; what fails does not stop the others. Interrupting ends the waiting, never the operation.

use super::context::Context;
use super::error::{CliError, INTERRUPTED};
use super::output;
use super::progress::Progress;
use api::client::{Accepted, Client, ClientError};
use api::v1::{Credentials, Host, Image, Vm, Webhook};
use futures_util::StreamExt;
use serde::Serialize;
use std::future::Future;

/// Requests in flight at once: enough to hide the wait, few enough not to crowd out others.
const AT_ONCE: usize = 8;

/// A thing with a name that can be looked at again.
pub trait Resource: Serialize + Sized {
    const NOUN: &'static str;
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn fetch(client: &Client, id: &str) -> impl Future<Output = Result<Self, ClientError>>;

    /// What the answer to a change tells and no other does, for people.
    fn told_once(&self) -> Option<String> {
        None
    }

    /// The same, taken over from that answer into what was looked at since.
    fn keep_told(&mut self, _answer: Self) {}
}

/// What is told once and did not come out yet: it does when this is dropped, whatever became of the rest.
struct Untold(Option<String>);

impl Untold {
    fn told(&mut self) {
        self.0 = None;
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            output::note(&told);
        }
    }
}

/// How a change is told: `vm demo started`, or, unfinished, `vm demo: start goes on`.
#[derive(Clone, Copy)]
pub struct Verb {
    pub does: &'static str,
    pub done: &'static str,
    /// Whether the thing is still there afterwards.
    pub leaves: Leaves,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    Thing,
    Nothing,
}

impl Verb {
    pub const fn new(does: &'static str, done: &'static str) -> Verb {
        Verb { does, done, leaves: Leaves::Thing }
    }

    pub const REMOVE: Verb = Verb { does: "delete", done: "deleted", leaves: Leaves::Nothing };
}

/// How it ended for one name.
struct Ended<T> {
    resource: Option<T>,
    /// Still running, because nobody wanted to wait.
    operation: Option<String>,
    untold: Untold,
}

/// Asks `call` for each name and waits, tells each end, and fails if one did.
pub async fn each<T: Resource, F: Future<Output = Result<Accepted<T>, ClientError>>>(
    context: &Context,
    names: &[String],
    verb: Verb,
    quiet: bool,
    call: impl Fn(String) -> F,
) -> Result<(), CliError> {
    let progress = Progress::new();
    let several = names.len() > 1;
    let mut ends = futures_util::stream::iter(names.iter().cloned())
        .map(|name| {
            let asked = call(name.clone());
            let progress = &progress;
            async move {
                let ended = finish(context, progress, &name, (verb, quiet), asked).await;
                (name, ended)
            }
        })
        .buffered(AT_ONCE);
    let (mut resources, mut untold) = (Vec::new(), Vec::new());
    let mut failure = None;
    loop {
        let (name, ended) = tokio::select! {
            next = ends.next() => match next {
                Some(end) => end,
                None => break,
            },
            _ = tokio::signal::ctrl_c() => {
                drop(ends);
                drop(progress);
                output::note("interrupted; what was asked for goes on: `hearth operation ls` shows it");
                return Err(CliError::Told(INTERRUPTED));
            }
        };
        match ended {
            Ok(ended) if context.json() => {
                resources.extend(ended.resource);
                untold.push(ended.untold);
            }
            Ok(ended) => tell(&name, verb, quiet, &ended)?,
            Err(error) => {
                let error = context.explain(error, several.then_some(name.as_str()));
                failure = Some(CliError::Told(error.report(context.output)));
            }
        }
    }
    drop(ends);
    drop(progress);
    if context.json() {
        match resources.as_slice() {
            [] if !several => {}
            [one] if !several => output::json(one)?,
            all => output::json(&all)?,
        }
        // It stood in that.
        untold.iter_mut().for_each(Untold::told);
    }
    failure.map_or(Ok(()), Err)
}

async fn finish<T: Resource>(
    context: &Context,
    progress: &Progress,
    name: &str,
    (verb, quiet): (Verb, bool),
    asked: impl Future<Output = Result<Accepted<T>, ClientError>>,
) -> Result<Ended<T>, ClientError> {
    let accepted = asked.await?;
    // At once: what follows may take long, fail or be interrupted. Where the output is one document, it stands in that, once that is out.
    let mut untold = Untold(accepted.resource.as_ref().and_then(T::told_once));
    if !context.json()
        && !quiet
        && let Some(told) = &untold.0
        && output::line(told).is_ok()
    {
        untold.told();
    }
    let Some(operation) = accepted.operation else {
        return Ok(Ended { resource: accepted.resource, operation: None, untold });
    };
    if !context.wait {
        return Ok(Ended { resource: accepted.resource, operation: Some(operation), untold });
    }
    let followed = context.client.follow(&operation, context.timeout, |seen| progress.seen(name, seen)).await;
    progress.ended(name);
    followed?;
    let resource = match (accepted.resource, verb.leaves) {
        (Some(before), Leaves::Thing) => {
            let mut now = T::fetch(&context.client, before.id()).await?;
            now.keep_told(before);
            Some(now)
        }
        (resource, _) => resource,
    };
    Ok(Ended { resource, operation: None, untold })
}

fn tell<T: Resource>(name: &str, verb: Verb, quiet: bool, ended: &Ended<T>) -> Result<(), CliError> {
    let shown = ended.resource.as_ref().map_or(name, |resource| resource.name());
    match (&ended.operation, &ended.resource) {
        (_, Some(resource)) if quiet => output::line(resource.id()),
        (_, None) if quiet => output::line(name),
        (Some(operation), _) => output::line(&format!("{} {shown}: {} goes on ({operation})", T::NOUN, verb.does)),
        (None, _) => output::line(&format!("{} {shown} {}", T::NOUN, verb.done)),
    }
}

impl Resource for Vm {
    const NOUN: &'static str = "vm";
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    async fn fetch(client: &Client, id: &str) -> Result<Vm, ClientError> {
        client.vms().get(id).await
    }
    fn told_once(&self) -> Option<String> {
        self.credentials.as_ref().map(Credentials::words)
    }
    fn keep_told(&mut self, answer: Vm) {
        self.credentials = answer.credentials;
    }
}

impl Resource for Image {
    const NOUN: &'static str = "image";
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    async fn fetch(client: &Client, id: &str) -> Result<Image, ClientError> {
        client.images().get(id).await
    }
}

impl Resource for Host {
    const NOUN: &'static str = "host";
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    async fn fetch(client: &Client, id: &str) -> Result<Host, ClientError> {
        client.hosts().get(id).await
    }
}

impl Resource for Webhook {
    const NOUN: &'static str = "webhook";
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    async fn fetch(client: &Client, id: &str) -> Result<Webhook, ClientError> {
        client.webhooks().get(id).await
    }
}
