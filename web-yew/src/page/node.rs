//! The server's actors: all in numbers, and those that somebody should look at, as they are now.

use super::parts::Head;
use crate::hearth::{Hearth, Telling, use_hearth};
use crate::ui::{Button, Empty, Glyph, ProblemNotice, Skeleton, badge};
use api::problem::Problem;
use api::v1::{ActorKind, ActorView, NodeTree};
use gloo::timers::callback::Interval;
use model::encode::segment;
use model::format::{count, sentence};
use model::node::{doing, is_above, unusual_words};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

/// Actors move while someone looks; counting them costs the server some milliseconds.
const EVERY_MS: u32 = 2_000;

#[component]
pub fn NodePage() -> Html {
    let hearth = use_hearth();
    let tree = use_state(|| None::<Result<NodeTree, Problem>>);
    let all = use_state(|| false);
    {
        let (hearth, tree) = (hearth.clone(), tree.clone());
        use_effect_with(*all, move |all| {
            read(&hearth, *all, &tree);
            let all = *all;
            let interval = Interval::new(EVERY_MS, move || read(&hearth, all, &tree));
            move || drop(interval)
        });
    }
    let toggle = {
        let all = all.clone();
        Callback::from(move |()| all.set(!*all))
    };
    html! {
        <>
            <Head title="Server" note="The actors that keep your machines, as they are now.">
                <Button label={if *all { "Only the unusual" } else { "Show all" }} onclick={toggle} testid="node-all" />
            </Head>
            { match &*tree {
                None => html! { <div class="card"><Skeleton /></div> },
                Some(Err(problem)) => html! { <ProblemNotice title="The actors could not be read" problem={problem.clone()} /> },
                Some(Ok(tree)) => html! { <Tree tree={tree.clone()} /> },
            } }
        </>
    }
}

fn read(hearth: &Hearth, all: bool, tree: &UseStateHandle<Option<Result<NodeTree, Problem>>>) {
    let (api, tree) = (hearth.live.api().clone(), tree.clone());
    spawn_local(async move {
        let path = if all { "/v1/node/tree?all=true&limit=500" } else { "/v1/node/tree" };
        tree.set(Some(api.get::<NodeTree>(path).await));
    });
}

#[derive(PartialEq, Properties)]
struct TreeProps {
    tree: NodeTree,
}

#[component]
fn Tree(props: &TreeProps) -> Html {
    let tree = &props.tree;
    let (above, below): (Vec<_>, Vec<_>) = tree.actors.iter().partition(|actor| is_above(actor));
    html! {
        <>
            <div class="card table-card" data-testid="node-above">
                <table>
                    <thead><tr><th>{ "Supervisor" }</th><th>{ "State" }</th><th>{ "Actors" }</th><th>{ "Waiting" }</th><th>{ "Restarts" }</th>
                        <th>{ "Doing" }</th></tr></thead>
                    <tbody>{ for above.into_iter().map(|actor| supervisor(actor, tree.kinds.iter().find(|kind| kind.kind == actor.name))) }</tbody>
                </table>
            </div>
            if below.is_empty() {
                <Empty glyph={Glyph::Check} title="Nothing unusual"><p>{ "Every actor runs, none was restarted, none is behind." }</p></Empty>
            } else {
                <div class="card table-card" data-testid="node-below">
                    <table>
                        <thead><tr><th>{ "Actor" }</th><th>{ "State" }</th><th>{ "Waiting" }</th><th>{ "Restarts" }</th><th>{ "Doing" }</th><th></th></tr></thead>
                        <tbody>{ for below.into_iter().map(|actor| html! { <Child key={actor.name.clone()} actor={actor.clone()} /> }) }</tbody>
                    </table>
                    if tree.next_cursor.is_some() { <p class="muted">{ "There are more; `hearth node tree --all` lists them." }</p> }
                </div>
            }
        </>
    }
}

fn supervisor(actor: &ActorView, kind: Option<&ActorKind>) -> Html {
    html! {
        <tr key={actor.name.clone()} data-testid={format!("actor-{}", actor.name)}>
            <td><b>{ &actor.name }</b></td>
            <td>{ badge(&actor.state) }</td>
            <td>{ kind.map(|kind| count(kind.actors)) }
                if let Some(words) = kind.and_then(unusual_words) { <span class="warn-text">{ format!(" · {words}") }</span> }</td>
            <td>{ count(actor.mailbox + kind.map_or(0, |kind| kind.mailbox)) }</td>
            <td>{ count(u64::from(actor.restarts)) }</td>
            <td class="muted">{ doing(actor) }{ error(actor) }</td>
        </tr>
    }
}

fn error(actor: &ActorView) -> Html {
    match &actor.last_error {
        Some(error) => html! { <p class="bad-text">{ sentence(error) }</p> },
        None => html! {},
    }
}

#[derive(PartialEq, Properties)]
struct ChildProps {
    actor: ActorView,
}

#[component]
fn Child(props: &ChildProps) -> Html {
    let hearth = use_hearth();
    let actor = &props.actor;
    let restart = {
        let name = actor.name.clone();
        Callback::from(move |()| {
            let (api, path, told) =
                (hearth.live.api().clone(), format!("/v1/node/actors/{}/restart", segment(&name)), hearth.clone());
            let telling = Telling { done: format!("{name} is started again"), failed: format!("{name} was not started again") };
            let failed = telling.failed.clone();
            let ended = Callback::from(move |answer: Result<_, Problem>| {
                if let Err(problem) = answer {
                    told.complain(&failed, problem);
                }
            });
            hearth.run(async move { api.post(&path, &serde_json::Map::new()).await }, telling, ended);
        })
    };
    html! {
        <tr data-testid={format!("actor-{}", actor.name)}>
            <td><code>{ &actor.name }</code></td>
            <td>{ badge(&actor.state) }</td>
            <td>{ count(actor.mailbox) }</td>
            <td>{ count(u64::from(actor.restarts)) }</td>
            <td class="muted">{ doing(actor) }{ error(actor) }</td>
            <td><Button label="Restart" onclick={restart} /></td>
        </tr>
    }
}
