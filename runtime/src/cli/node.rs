//! `hearth node …`: the live actors of the server, as a tree.

use super::context::Context;
use super::error::CliError;
use super::output;
use super::style::{Colour, harmless, of_state, paint, wants_colour};
use api::client::TreeQuery;
use api::v1::{ActorKind, ActorView, Doing, NodeTree};
use clap::{Args, Subcommand};
use std::collections::{BTreeMap, BTreeSet};

/// Actors nest a handful deep; an answer in which they go round must not.
const DEEPEST: usize = 32;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show the server's actors: all in numbers, and those that somebody should look at
    Tree(TreeArgs),
    /// Start an actor again: one that was set aside, waits for its turn, or lives; guests go on
    Restart {
        /// The actor's name, as the tree has it
        #[arg(required = true, value_name = "ACTOR")]
        actors: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct TreeArgs {
    /// Every actor, not only the unusual ones
    #[arg(short, long)]
    all: bool,
    /// Only of this kind: vms, images, hosts, operations, webhooks
    #[arg(long)]
    kind: Option<String>,
    /// At most this many, the root and the supervisors not counted
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// The server's largest page.
const PAGE: u32 = 1000;

pub async fn run(context: &Context, command: NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::Tree(args) => {
            let tree = read(context, &args).await?;
            if context.json() {
                return output::json(&tree);
            }
            output::text(&render(&tree, wants_colour(std::io::stdout())))?;
            if tree.next_cursor.is_some() {
                output::note(&format!("there are more than these {}; --limit shows more", args.limit));
            }
            Ok(())
        }
        NodeCommand::Restart { actors } => {
            for name in &actors {
                let restarted = context.client.restart_actor(name).await;
                let actor = restarted.map_err(|error| context.explain(error, (actors.len() > 1).then_some(name)))?;
                if context.json() {
                    output::json(&actor)?;
                } else {
                    output::line(&format!("actor {} is started again", actor.name))?;
                }
            }
            Ok(())
        }
    }
}

/// Page by page, up to the limit.
async fn read(context: &Context, args: &TreeArgs) -> Result<NodeTree, CliError> {
    let mut left = args.limit;
    let mut query = TreeQuery { all: args.all, kind: args.kind.clone(), cursor: None, limit: Some(left.min(PAGE)) };
    let mut tree = context.client.node_tree(&query).await.map_err(|error| context.explain(error, None))?;
    loop {
        left = left.saturating_sub(PAGE);
        if tree.next_cursor.is_none() || left == 0 {
            return Ok(tree);
        }
        (query.cursor, query.limit) = (tree.next_cursor.take(), Some(left.min(PAGE)));
        let page = context.client.node_tree(&query).await.map_err(|error| context.explain(error, None))?;
        tree.actors.extend(page.actors);
        tree.next_cursor = page.next_cursor;
    }
}

/// How long the guests may take to stop (30 s of their own and the server's margin), and how often it is looked whether the server is gone.
const DOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(90);
const DOWN_LOOK: std::time::Duration = std::time::Duration::from_millis(200);

/// `hearth down`: asks the server to stop its guests and itself, and waits until it is gone.
pub async fn down(context: &Context) -> Result<(), CliError> {
    context.client.node_down().await.map_err(|error| context.explain(error, None))?;
    let begun = std::time::Instant::now();
    // Its connection refused is how a server says that it is gone; nothing else announces it.
    while context.client.healthz().await.is_ok() {
        if begun.elapsed() > DOWN_WITHIN {
            return Err(CliError::NotRun {
                detail: "the server has not stopped yet; look at its log".to_owned(),
                code: super::error::FAILED,
            });
        }
        tokio::time::sleep(DOWN_LOOK).await;
    }
    output::text("hearth is down\n")
}

fn render(tree: &NodeTree, colour: bool) -> String {
    let mut children: BTreeMap<Option<&str>, Vec<&ActorView>> = BTreeMap::new();
    let names: BTreeSet<&str> = tree.actors.iter().map(|actor| actor.name.as_str()).collect();
    for actor in &tree.actors {
        // A parent that is not in the answer makes its child a root: nothing may vanish.
        let parent = actor.parent.as_deref().filter(|parent| names.contains(parent));
        children.entry(parent).or_default().push(actor);
    }
    let mut text = String::new();
    branch(&Branches { children, kinds: &tree.kinds, colour }, None, "", 0, &mut text);
    text
}

struct Branches<'a> {
    children: BTreeMap<Option<&'a str>, Vec<&'a ActorView>>,
    kinds: &'a [ActorKind],
    colour: bool,
}

fn branch(all: &Branches<'_>, parent: Option<&str>, indent: &str, depth: usize, text: &mut String) {
    let Some(actors) = all.children.get(&parent).filter(|_| depth < DEEPEST) else { return };
    for (index, actor) in actors.iter().enumerate() {
        let last = index + 1 == actors.len();
        let (twig, below) = match (depth, last) {
            (0, _) => ("", ""),
            (_, true) => ("└─ ", "   "),
            (_, false) => ("├─ ", "│  "),
        };
        let numbers = all.kinds.iter().find(|kind| kind.kind == actor.name).map(numbers).unwrap_or_default();
        text.push_str(&format!("{indent}{twig}{}{numbers}\n", describe(actor, all.colour)));
        branch(all, Some(&actor.name), &format!("{indent}{below}"), depth + 1, text);
    }
}

/// A supervisor's children in numbers; what is 0 is left out.
fn numbers(kind: &ActorKind) -> String {
    let mut text = format!("  {} actors", kind.actors);
    let rest = [
        (kind.stalled, "stalled"),
        (kind.overdue, "overdue"),
        (kind.restarting, "restarting"),
        (kind.quarantined, "quarantined"),
        (kind.restarts, "restarts"),
        (kind.mailbox, "messages waiting"),
    ];
    for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    text
}

fn describe(actor: &ActorView, colour: bool) -> String {
    let state = harmless(&actor.state);
    let mut text =
        format!("{}  {}", harmless(&actor.name), of_state(&state).map_or(state.clone(), |look| paint(colour, look, &state)));
    let doing = |doing: &Doing| format!("{} for {}", harmless(&doing.what), lasts(doing.for_ms));
    if let Some(message) = &actor.message {
        text.push_str(&format!("  {}", doing(message)));
    }
    if let Some(waits) = &actor.waits_for {
        text.push_str(&format!(", waiting for {}", doing(waits)));
    }
    if let Some(effect) = &actor.effect {
        text.push_str(&format!("  [{}]", doing(effect)));
    }
    if actor.mailbox > 0 {
        text.push_str(&format!("  {} messages wait", actor.mailbox));
    }
    if actor.restarts > 0 {
        text.push_str(&format!("  restarted {} times", actor.restarts));
    }
    if let Some(error) = &actor.last_error {
        text.push_str(&format!("  {}", paint(colour, Colour::Red, &harmless(error))));
    }
    text
}

fn lasts(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{} s", ms / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(name: &str, parent: Option<&str>) -> ActorView {
        ActorView {
            name: name.into(),
            parent: parent.map(Into::into),
            state: "running".into(),
            restarts: 0,
            last_error: None,
            mailbox: 0,
            message: None,
            waits_for: None,
            effect: None,
        }
    }

    fn tree(actors: Vec<ActorView>) -> NodeTree {
        let vms = ActorKind {
            kind: "vms".into(),
            actors: 2,
            stalled: 1,
            overdue: 0,
            restarting: 0,
            quarantined: 0,
            restarts: 2,
            mailbox: 0,
        };
        NodeTree { kinds: vec![vms], actors, next_cursor: None }
    }

    #[test]
    fn a_tree_is_drawn() {
        let mut failed = actor("vm:b", Some("vms"));
        (failed.restarts, failed.last_error) = (2, Some("it fell".into()));
        failed.message = Some(Doing { what: "command start".into(), for_ms: 61_000 });
        failed.waits_for = Some(Doing { what: "the journal".into(), for_ms: 900 });
        let actors = vec![
            actor("node", None),
            actor("vms", Some("node")),
            actor("vm:a", Some("vms")),
            failed,
            actor("lost", Some("gone")),
        ];
        assert_eq!(
            render(&tree(actors), false),
            "node  running\n└─ vms  running  2 actors, 1 stalled, 2 restarts\n   ├─ vm:a  running\n   └─ vm:b  running  command start for 61 s, \
             waiting for the journal for 900 ms  restarted 2 times  it fell\nlost  running\n"
        );
    }

    #[test]
    fn actors_that_go_round_end() {
        let actors = vec![actor("a", Some("a")), actor("root", None)];
        assert_eq!(render(&tree(actors), false), "root  running\n");
    }
}
