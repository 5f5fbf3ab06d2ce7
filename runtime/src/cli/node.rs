//! `hearth node …`: the live actors of the server, as a tree.

use super::context::Context;
use super::error::CliError;
use super::output;
use super::style::{Colour, harmless, of_state, paint, wants_colour};
use api::v1::{ActorView, NodeTree};
use clap::Subcommand;
use std::collections::BTreeMap;

/// Actors nest a handful deep; an answer in which they go round must not.
const DEEPEST: usize = 32;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show the server's actors, who supervises whom, and how often each was restarted
    Tree,
}

pub async fn run(context: &Context, command: NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::Tree => {
            let tree = context.client.node_tree().await.map_err(|error| context.explain(error, None))?;
            if context.json() {
                return output::json(&tree);
            }
            output::text(&render(&tree, wants_colour(std::io::stdout())))
        }
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
    for actor in &tree.actors {
        // A parent that is not in the answer makes its child a root: nothing may vanish.
        let parent = actor.parent.as_deref().filter(|parent| tree.actors.iter().any(|other| other.name == *parent));
        children.entry(parent).or_default().push(actor);
    }
    let mut text = String::new();
    branch(&children, None, "", colour, 0, &mut text);
    text
}

fn branch(
    children: &BTreeMap<Option<&str>, Vec<&ActorView>>,
    parent: Option<&str>,
    indent: &str,
    colour: bool,
    depth: usize,
    text: &mut String,
) {
    let Some(actors) = children.get(&parent).filter(|_| depth < DEEPEST) else { return };
    for (index, actor) in actors.iter().enumerate() {
        let last = index + 1 == actors.len();
        let (twig, below) = match (depth, last) {
            (0, _) => ("", ""),
            (_, true) => ("└─ ", "   "),
            (_, false) => ("├─ ", "│  "),
        };
        text.push_str(&format!("{indent}{twig}{}\n", describe(actor, colour)));
        branch(children, Some(&actor.name), &format!("{indent}{below}"), colour, depth + 1, text);
    }
}

fn describe(actor: &ActorView, colour: bool) -> String {
    let state = harmless(&actor.state);
    let mut text =
        format!("{}  {}", harmless(&actor.name), of_state(&state).map_or(state.clone(), |look| paint(colour, look, &state)));
    if actor.restarts > 0 {
        text.push_str(&format!("  restarted {} times", actor.restarts));
    }
    if let Some(error) = &actor.last_error {
        text.push_str(&format!("  {}", paint(colour, Colour::Red, &harmless(error))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(name: &str, parent: Option<&str>) -> ActorView {
        ActorView { name: name.into(), parent: parent.map(Into::into), state: "running".into(), restarts: 0, last_error: None }
    }

    #[test]
    fn a_tree_is_drawn() {
        let mut failed = actor("vm:b", Some("vms"));
        (failed.restarts, failed.last_error) = (2, Some("it fell".into()));
        let actors = vec![
            actor("node", None),
            actor("vms", Some("node")),
            actor("vm:a", Some("vms")),
            failed,
            actor("lost", Some("gone")),
        ];
        assert_eq!(
            render(&NodeTree { actors }, false),
            "node  running\n└─ vms  running\n   ├─ vm:a  running\n   └─ vm:b  running  restarted 2 times  it fell\nlost  running\n"
        );
    }

    #[test]
    fn actors_that_go_round_end() {
        let actors = vec![actor("a", Some("a")), actor("root", None)];
        assert_eq!(render(&NodeTree { actors }, false), "root  running\n");
    }
}
