//! Operations: what takes longer than a request, with its progress and how it ended.

use super::parts::{Head, ListEnd, OperationList};
use crate::hearth::use_hearth;
use crate::ui::{Empty, Glyph, Search, Skeleton};
use model::filter::Filter;
use model::order;
use model::resource::Kind;
use yew::prelude::*;

/// The newest; a filter finds older ones.
const SHOWN_AT_MOST: usize = 200;

#[component]
pub fn Operations() -> Html {
    let hearth = use_hearth();
    let query = use_state(String::new);
    let filter = Filter::parse(&query);
    let table = &hearth.store().operations;
    let matches = |operation: &api::v1::Operation| {
        filter.matches_text(&format!(
            "{} {} {} {}",
            operation.target.name,
            operation.kind,
            operation.status.as_str(),
            operation.actor
        ))
    };
    let mut operations: Vec<_> = table.rows().filter(|operation| matches(operation)).cloned().collect();
    order::by_greatest(&mut operations, |operation| operation.created_at);
    operations.truncate(SHOWN_AT_MOST);
    html! {
        <>
            <Head title="Operations" note="What was asked for and takes longer than a moment.">
                <Search label="Filter by target, kind or status" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
            </Head>
            if table.pending() {
                <div class="card"><Skeleton /></div>
            } else if !operations.is_empty() {
                <div class="card"><OperationList {operations} /></div>
            } else if table.error.is_none() {
                <Empty glyph={Glyph::Operation} title={if table.is_empty() { "Nothing has been carried out yet" } else { "No operation matches" }}>
                    <p>{ "Starting, stopping, importing: each shows here with its progress." }</p>
                </Empty>
            }
            <ListEnd kind={Kind::Operation} more={table.more.clone()} error={table.error.clone()} />
        </>
    }
}
