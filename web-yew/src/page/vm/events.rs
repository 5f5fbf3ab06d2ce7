//! What happened to a machine, from the oldest that the server keeps.

use crate::link::history::use_history;
use crate::link::stream::StreamState;
use crate::page::parts::EventList;
use crate::ui::{Empty, Glyph, Skeleton};
use model::encode::segment;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub id: AttrValue,
}

#[component]
pub fn VmEvents(props: &Props) -> Html {
    let (events, state) = use_history(format!("/v1/events?after=0&id={}", segment(&props.id)));
    if !events.is_empty() {
        return html! { <div class="card"><EventList {events} targets={false} /></div> };
    }
    if state != StreamState::Live {
        return html! { <div class="card"><Skeleton /></div> };
    }
    html! { <Empty glyph={Glyph::Event} title="No event is kept"><p>{ "What happens from now on shows here." }</p></Empty> }
}
