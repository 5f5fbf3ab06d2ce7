//! Events of the past, read from the stream by number, for the pages that show more than what happened since they were opened.

use super::stream::{StreamState, use_stream};
use api::v1::Event;
use gloo::timers::callback::Timeout;
use model::resource::Shared;
use std::collections::VecDeque;
use std::rc::Rc;
use yew::prelude::*;

/// What a page shows; older ones stay on the server.
const KEPT: usize = 500;
/// The stream does not say where the past ends: one that brought nothing for so long after it was opened has none.
const NOTHING_AFTER_MS: u32 = 700;

/// What the stream brought so far.
pub enum Past {
    /// It may yet bring something.
    Reading,
    /// Newest first; empty: nothing is kept.
    Read(Vec<Shared<Event>>),
}

#[derive(Default, Clone, PartialEq)]
struct History(VecDeque<Shared<Event>>);

enum HistoryMsg {
    Push(Vec<Event>),
    Clear,
}

impl Reducible for History {
    type Action = HistoryMsg;
    fn reduce(self: Rc<Self>, msg: HistoryMsg) -> Rc<Self> {
        let mut next = (*self).clone();
        match msg {
            HistoryMsg::Clear => next.0.clear(),
            HistoryMsg::Push(events) => {
                for event in events.into_iter().filter(|event| event.event != "resync") {
                    // A connection taken up again begins from the start once more.
                    if next.0.back().is_none_or(|last| last.cursor < event.cursor) {
                        next.0.push_back(Shared::new(event));
                    }
                }
                while next.0.len() > KEPT {
                    next.0.pop_front();
                }
            }
        }
        Rc::new(next)
    }
}

/// `path` is an event stream's, with `after=`.
#[hook]
pub fn use_history(path: String) -> Past {
    let history = use_reducer(History::default);
    let settled = use_state(|| false);
    {
        let dispatcher = history.dispatcher();
        use_effect_with(path.clone(), move |_| dispatcher.dispatch(HistoryMsg::Clear));
    }
    let dispatcher = history.dispatcher();
    let texts = Callback::from(move |texts: Vec<String>| {
        let read = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        dispatcher.dispatch(HistoryMsg::Push(read));
    });
    let state = use_stream(Some(path.clone()), Callback::noop(), texts);
    {
        let settled = settled.clone();
        use_effect_with((path, state == StreamState::Live), move |(_, live)| {
            settled.set(false);
            let timeout = live.then(|| Timeout::new(NOTHING_AFTER_MS, move || settled.set(true)));
            move || drop(timeout)
        });
    }
    if history.0.is_empty() && !*settled { Past::Reading } else { Past::Read(history.0.iter().rev().cloned().collect()) }
}
