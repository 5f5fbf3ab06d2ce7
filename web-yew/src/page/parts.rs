//! What several pages share: the head of a page, links to resources, the end of a list, and lines of events and operations.

use crate::hearth::use_hearth;
use crate::route::Route;
use crate::ui::{Ago, Button, ProblemNotice, badge};
use api::problem::Problem;
use api::v1::{Event, EventKind, Operation};
use gloo::timers::callback::Interval;
use model::action::Availability;
use model::encode::segment;
use model::format::{bytes, event_words, sentence};
use model::happening::detail;
use model::resource::{Kind, Shared};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct HeadProps {
    pub title: AttrValue,
    #[prop_or_default]
    pub note: AttrValue,
    /// At the right edge.
    #[prop_or_default]
    pub children: Html,
}

#[component]
pub fn Head(props: &HeadProps) -> Html {
    crate::hearth::use_title(&props.title);
    html! {
        <header class="head">
            <div><h1>{ &props.title }</h1>if !props.note.is_empty() { <p class="muted">{ &props.note }</p> }</div>
            <div class="head-tools">{ props.children.clone() }</div>
        </header>
    }
}

#[derive(PartialEq, Properties)]
pub struct ListEndProps {
    pub kind: Kind,
    pub more: Option<String>,
    pub error: Option<Problem>,
}

/// Below a list: the rest of it, or what went wrong while loading.
#[component]
pub fn ListEnd(props: &ListEndProps) -> Html {
    let hearth = use_hearth();
    let kind = props.kind;
    let again = {
        let live = hearth.live.clone();
        Callback::from(move |()| live.relist(kind))
    };
    let more = props.more.clone().map(|cursor| {
        let live = hearth.live.clone();
        Callback::from(move |()| live.more(kind, cursor.clone()))
    });
    html! {
        <>
            if let Some(problem) = &props.error {
                <ProblemNotice title="The list could not be loaded" problem={problem.clone()} />
                <p><Button label="Try again" onclick={again} /></p>
            }
            if let Some(more) = more { <p class="center"><Button label="Load more" onclick={more} /></p> }
        </>
    }
}

/// A link to what an event or an operation is about, if this console shows it and it is still there.
pub fn target(kind: &str, id: &str, name: &str, there: bool) -> Html {
    let name = if name.is_empty() { id } else { name };
    match (kind, there) {
        ("vm", true) => html! { <Link<Route> to={Route::Vm { id: id.to_owned() }}>{ name }</Link<Route>> },
        ("host", true) => html! { <Link<Route> to={Route::Host { id: id.to_owned() }}>{ name }</Link<Route>> },
        ("image", true) => html! { <Link<Route> to={Route::Images}>{ name }</Link<Route>> },
        _ => html! { <span>{ name }</span> },
    }
}

pub fn kind_word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Vm => "vm",
        EventKind::Host => "host",
        EventKind::Image => "image",
        EventKind::Operation => "operation",
        EventKind::Stream => "stream",
        EventKind::Unknown => "other",
    }
}

#[derive(PartialEq, Properties)]
pub struct EventListProps {
    /// Newest first.
    pub events: Vec<Shared<Event>>,
    /// Whether to say whom each is about.
    #[prop_or(true)]
    pub targets: bool,
}

#[component]
pub fn EventList(props: &EventListProps) -> Html {
    let hearth = use_hearth();
    let store = hearth.store();
    let there = |event: &Event| match event.kind {
        EventKind::Vm => store.vms.get(&event.id).is_some(),
        EventKind::Host => store.hosts.get(&event.id).is_some(),
        EventKind::Image => store.images.get(&event.id).is_some(),
        _ => false,
    };
    html! {
        <ol class="events">
            { for props.events.iter().map(|event| html! {
                <li key={event.cursor}>
                    <span class="event-kind">{ kind_word(event.kind) }</span>
                    <div>
                        <p>
                            if props.targets { <b>{ target(kind_word(event.kind), &event.id, &event.name, there(event)) }</b>{ " " } }
                            <span title={event.event.clone()}>{ event_words(&event.event) }</span>
                        </p>
                        if let Some(detail) = detail(event) { <p class="muted">{ detail }</p> }
                    </div>
                    <span class="muted event-by">{ &event.actor }</span>
                    <span class="muted event-time"><Ago time={event.time} /></span>
                </li>
            }) }
        </ol>
    }
}

/// Between two looks at operations that run.
const PROGRESS_EVERY_MS: u32 = 1_000;
/// More than these are not looked at one by one.
const FOLLOWED_AT_MOST: usize = 20;

#[derive(PartialEq, Properties)]
struct CancelProps {
    operation: Shared<Operation>,
}

/// Turns an operation back; one that can't be says why.
#[component]
fn CancelButton(props: &CancelProps) -> Html {
    let hearth = use_hearth();
    let operation = &props.operation;
    let availability = match (&operation.cancel_refused, operation.cancellable) {
        (_, true) => Availability::Allowed,
        (reason, false) => Availability::Refused(reason.clone().unwrap_or_else(|| "it can't be cancelled now".to_owned())),
    };
    let onclick = {
        let (id, name) = (operation.id.clone(), operation.target.name.clone());
        Callback::from(move |()| {
            let (api, live, told) = (hearth.live.api().clone(), hearth.live.clone(), hearth.clone());
            let (id, name) = (id.clone(), name.clone());
            spawn_local(async move {
                let path = format!("/v1/operations/{}/cancel", segment(&id));
                if let Err(problem) = api.post(&path, &serde_json::Map::new()).await {
                    told.complain(&format!("What is done to {name} was not cancelled"), problem);
                }
                live.fetch(Kind::Operation, &id);
            });
        })
    };
    html! { <Button label="Cancel" {availability} {onclick} testid={format!("cancel-{}", operation.target.name)} /> }
}

#[derive(PartialEq, Properties)]
pub struct OperationListProps {
    /// In the order to show.
    pub operations: Vec<Shared<Operation>>,
}

#[component]
pub fn OperationList(props: &OperationListProps) -> Html {
    let hearth = use_hearth();
    {
        // Progress is no event: who looks at operations that run asks for them.
        let running: Vec<String> = props
            .operations
            .iter()
            .filter(|operation| operation.status == api::v1::OperationStatus::Running)
            .map(|operation| operation.id.clone())
            .take(FOLLOWED_AT_MOST)
            .collect();
        let live = hearth.live.clone();
        use_effect_with(running, move |running| {
            let running = running.clone();
            let interval = (!running.is_empty())
                .then(|| Interval::new(PROGRESS_EVERY_MS, move || running.iter().for_each(|id| live.fetch(Kind::Operation, id))));
            move || drop(interval)
        });
    }
    let store = hearth.store();
    let there = |operation: &Operation| match operation.target.kind.as_str() {
        "vm" => store.vms.get(&operation.target.id).is_some(),
        "image" => store.images.get(&operation.target.id).is_some(),
        _ => false,
    };
    html! {
        <ol class="operations">
            { for props.operations.iter().map(|operation| {
                let target_ = &operation.target;
                let running = operation.status == api::v1::OperationStatus::Running;
                let step = operation.steps.last().map(|step| step.name.replace('-', " "));
                html! {
                    <li key={operation.id.clone()}>
                        <div class="operation-line">
                            { badge(operation.status.as_str()) }
                            <p><b>{ target(&target_.kind, &target_.id, &target_.name, there(operation)) }</b>
                                { " " }<span title={operation.id.clone()}>{ event_words(&operation.kind) }</span>
                                if let (true, Some(step)) = (running, step) { <span class="muted">{ format!(" · {step}") }</span> }
                                if let (true, Some(done), Some(total)) = (running, operation.done_bytes, operation.total_bytes) {
                                    <span class="muted">{ format!(" · {} of {}", bytes(done as f64), bytes(total as f64)) }</span>
                                }
                            </p>
                            <span class="muted event-by">{ &operation.actor }</span>
                            <span class="muted event-time"><Ago time={operation.created_at} /></span>
                            if running { <CancelButton operation={operation.clone()} /> }
                        </div>
                        if running {
                            <div class="bar info" role="progressbar" aria-label="Progress" aria-valuenow={operation.progress.to_string()}
                                aria-valuemin="0" aria-valuemax="100"><i style={format!("width:{}%", operation.progress)}></i></div>
                        }
                        if let Some(error) = &operation.error {
                            <p class="bad-text">{ sentence(&error.detail) }
                                if !error.hint.is_empty() { <span class="muted">{ " " }{ sentence(&error.hint) }</span> }
                            </p>
                        }
                    </li>
                }
            }) }
        </ol>
    }
}
