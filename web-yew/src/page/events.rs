//! Events of everything, newest first, as they happen.

use super::parts::{EventList, Head, kind_word};
use crate::hearth::use_hearth;
use crate::link::history::use_history;
use crate::link::stream::StreamState;
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
    let (events, state) = use_history(format!("/v1/events?after={after}"));
    let filter = Filter::parse(&query);
    let shown: Vec<_> = events
        .iter()
        .filter(|event| {
            filter.matches_text(&format!("{} {} {} {} {}", event.name, event.id, event.event, kind_word(event.kind), event.actor))
        })
        .cloned()
        .collect();
    html! {
        <>
            <Head title="Events" note="Everything that changed, as it changes.">
                <Search label="Filter by name, type or actor" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
            </Head>
            if !shown.is_empty() {
                <div class="card"><EventList events={shown} /></div>
            } else if events.is_empty() && state != StreamState::Live {
                <div class="card"><Skeleton /></div>
            } else {
                <Empty glyph={Glyph::Event} title={if events.is_empty() { "Nothing has happened yet" } else { "No event matches" }} />
            }
        </>
    }
}
