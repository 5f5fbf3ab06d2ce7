//! What a machine wrote to its serial console: as a log that is followed, or the console itself to type into.

use crate::hearth::use_hearth;
use crate::link::read::{Piece, Reading};
use crate::term::Term;
use crate::ui::{Button, Check, Empty, Glyph, ProblemNotice, Search};
use api::problem::Problem;
use api::v1::Vm;
use gloo::timers::callback::Timeout;
use model::action::Availability;
use model::encode::segment;
use model::format::sentence;
use model::log::Log;
use model::resource::Shared;
use std::rc::Rc;
use web_sys::HtmlElement;
use yew::prelude::*;

/// A log that ended (the machine stopped) is looked at again after this long, while the tab is shown.
const AGAIN_MS: u32 = 3_000;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
}

#[component]
pub fn Logs(props: &Props) -> Html {
    let vm = &props.vm;
    let console = use_state(|| false);
    let availability = Availability::of("console", &vm.status.actions, &vm.status.refused);
    let pick = |on: bool| {
        let console = console.clone();
        Callback::from(move |()| console.set(on))
    };
    let shown = *console && availability.allowed();
    html! {
        <section aria-label="Serial console">
            <div class="segments" role="group" aria-label="View">
                <Button label="Log" class={classes!((!shown).then_some("current"))} onclick={pick(false)} testid="logs-log" />
                <Button label="Serial console" class={classes!(shown.then_some("current"))} onclick={pick(true)} {availability} testid="logs-console" />
            </div>
            if shown {
                <div class="terminals"><button class="sr-only" type="button" data-terminal-exit="">{ "Above the console" }</button>
                    <Term path={format!("/v1/vms/{}/console", segment(&vm.id))} label={format!("Serial console of {}", vm.name)} /></div>
            } else {
                <LogView vm={vm.clone()} />
            }
        </section>
    }
}

#[derive(Default, Clone, PartialEq)]
struct State {
    log: Log,
    ended: bool,
    problem: Option<Problem>,
}

enum StateMsg {
    Begin,
    Text(String),
    End,
    Failed(Problem),
}

impl Reducible for State {
    type Action = StateMsg;
    fn reduce(self: Rc<Self>, msg: StateMsg) -> Rc<Self> {
        let mut next = (*self).clone();
        match msg {
            StateMsg::Begin => return Rc::default(),
            StateMsg::Text(text) => next.log.push(&text),
            StateMsg::End => next.ended = true,
            StateMsg::Failed(problem) => {
                next.problem = Some(problem);
                next.ended = true;
            }
        }
        Rc::new(next)
    }
}

#[component]
fn LogView(props: &Props) -> Html {
    let hearth = use_hearth();
    let state = use_reducer(State::default);
    let query = use_state(String::new);
    let attempt = use_state(|| 0u32);
    let times = use_state(|| false);
    let node = use_node_ref();
    {
        let (api, dispatcher) = (hearth.live.api().clone(), state.dispatcher());
        use_effect_with((props.vm.id.clone(), *attempt, *times), move |(id, _, times)| {
            let mut first = true;
            let piece = std::cell::RefCell::new(move |piece: Piece| {
                // The old text stays until the new one is there.
                if std::mem::take(&mut first) {
                    dispatcher.dispatch(StateMsg::Begin);
                }
                dispatcher.dispatch(match piece {
                    Piece::Text(text) => StateMsg::Text(text),
                    Piece::End => StateMsg::End,
                    Piece::Failed(problem) => StateMsg::Failed(problem),
                });
            });
            let piece = Callback::from(move |read| (piece.borrow_mut())(read));
            let reading = Reading::start(&api, format!("/v1/vms/{}/logs?follow=true&timestamps={times}", segment(id)), piece);
            move || drop(reading)
        });
    }
    {
        let attempt = attempt.clone();
        use_effect_with((state.ended, *attempt), move |(ended, _)| {
            let timer = ended.then(|| Timeout::new(AGAIN_MS, move || attempt.set(*attempt + 1)));
            move || drop(timer)
        });
    }
    {
        // Follows the end, unless someone scrolled up to read.
        let node = node.clone();
        use_effect_with(state.log.clone(), move |_| {
            if let Some(view) = node.cast::<HtmlElement>()
                && view.scroll_height() - view.scroll_top() - view.client_height() < 160
            {
                view.set_scroll_top(view.scroll_height());
            }
        });
    }
    if let Some(problem) = &state.problem {
        return html! { <ProblemNotice title="The log could not be read" problem={problem.clone()} /> };
    }
    if state.log.is_empty() {
        return html! {
            <Empty glyph={Glyph::Event} title="Nothing was written yet"><p>{ "What the machine writes while it boots shows here." }</p></Empty>
        };
    }
    let wanted = query.to_lowercase();
    html! {
        <div class="card log-card">
            <div class="log-head">
                <Search label="Show only lines with" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
                <Check label="Times" help="" checked={*times} testid="log-times" onchange={let times = times.clone(); move |on| times.set(on)} />
                if state.log.cut() { <span class="muted">{ "Only the newest part is shown." }</span> }
                if let Some(reason) = &props.vm.status.reason { <span class="muted">{ sentence(&reason.detail) }</span> }
            </div>
            <pre class="log" ref={node} tabindex="0" aria-label="Log" data-testid="log">
                { for state.log.lines().filter(|line| wanted.is_empty() || line.to_lowercase().contains(&wanted)).map(|line| html! { <>{ line }{ "\n" }</> }) }
            </pre>
        </div>
    }
}
