//! Events of everything, newest first, as they happen.

use super::parts::{EventList, Head, kind_word};
use crate::hearth::use_hearth;
use crate::link::history::{Past, use_history};
use crate::ui::{Empty, Glyph, Search, Skeleton};
use model::filter::Filter;
use yew::prelude::*;

/// How far back to look when the newest number is known.
const LOOK_BACK: u64 = 500;

#[component]
pub fn Events() -> Html {
    let hearth = use_hearth();
    let query = use_state(String::new);
    // Fixed when the page is opened: the stream itself brings what follows.
    let after = use_memo((), |()| hearth.store().cursor.map_or(0, |cursor| cursor.saturating_sub(LOOK_BACK)));
    let past = use_history(format!("/v1/events?after={after}"));
    let filter = Filter::parse(&query);
    let matches = |event: &api::v1::Event| {
        filter.matches_text(&format!("{} {} {} {} {}", event.name, event.id, event.event, kind_word(event.kind), event.actor))
    };
    let list = match past {
        Past::Reading => html! { <div class="card"><Skeleton /></div> },
        Past::Read(events) if events.is_empty() => html! { <Empty glyph={Glyph::Event} title="Nothing has happened yet" /> },
        Past::Read(mut events) => {
            events.retain(|event| matches(event));
            if events.is_empty() {
                html! { <Empty glyph={Glyph::Event} title="No event matches" /> }
            } else {
                html! { <div class="card"><EventList {events} /></div> }
            }
        }
    };
    html! {
        <>
            <Head title="Events" note="Everything that changed, as it changes.">
                <Search label="Filter by name, type or actor" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
            </Head>
            { list }
        </>
    }
}
