//! What happened to a machine, from the oldest that the server keeps.

use crate::link::history::{Past, use_history};
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
    match use_history(format!("/v1/events?after=0&id={}", segment(&props.id))) {
        Past::Reading => html! { <div class="card"><Skeleton /></div> },
        Past::Read(events) if events.is_empty() => html! {
            <Empty glyph={Glyph::Event} title="No event is kept"><p>{ "What happens from now on shows here." }</p></Empty>
        },
        Past::Read(events) => html! { <div class="card"><EventList {events} targets={false} /></div> },
    }
}
