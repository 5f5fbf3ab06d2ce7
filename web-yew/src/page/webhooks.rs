//! The list of webhooks: where events go, and how far each is.

use super::parts::{Head, ListEnd};
use super::webhook_create::WebhookCreate;
use crate::hearth::use_hearth;
use crate::route::Route;
use crate::ui::{Ago, Button, Empty, Glyph, Search, Skeleton, Tone, badge_for, labels_view};
use gloo::timers::callback::Interval;
use model::filter::Filter;
use model::format::{count, sentence};
use model::resource::Kind;
use yew::prelude::*;
use yew_router::prelude::*;

/// Progress makes no events, or a webhook would be told of its own deliveries: while somebody looks, it is asked for.
const LOOK_EVERY_MS: u32 = 2_000;

/// Lists webhooks again and again while the component is shown and there are any.
#[hook]
pub fn use_progress() {
    let hearth = use_hearth();
    let some = !hearth.store().webhooks.is_empty();
    use_effect_with(some, move |some| {
        let live = hearth.live.clone();
        let look = some.then(|| Interval::new(LOOK_EVERY_MS, move || live.relist(Kind::Webhook)));
        move || drop(look)
    });
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub creating: bool,
}

#[component]
pub fn Webhooks(props: &Props) -> Html {
    let hearth = use_hearth();
    use_progress();
    let navigator = use_navigator();
    let query = use_state(String::new);
    let webhooks = &hearth.store().webhooks;
    let filter = Filter::parse(&query);
    let rows: Vec<_> = webhooks.rows().filter(|webhook| filter.matches(&***webhook)).cloned().collect();
    let go = |route: Route| {
        let navigator = navigator.clone();
        Callback::from(move |()| {
            if let Some(navigator) = &navigator {
                navigator.push(&route);
            }
        })
    };
    let create = html! {
        <Button label="Create webhook" icon={Glyph::Plus} tone={Tone::Primary} onclick={go(Route::WebhookNew)} testid="webhook-create-open" />
    };
    html! {
        <>
            <Head title="Webhooks">
                <Search label="Filter by name, label or state" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
                { create.clone() }
            </Head>
            if webhooks.pending() {
                <div class="card"><Skeleton /></div>
            } else if webhooks.is_empty() {
                if webhooks.error.is_none() {
                    <Empty glyph={Glyph::Webhook} title="No webhook yet">
                        <p>{ "A webhook sends events to an address of yours, signed, in order, and again until they are taken." }</p>
                        { create }
                    </Empty>
                }
            } else if rows.is_empty() {
                <Empty glyph={Glyph::Search} title="No webhook matches">
                    <Button label="Clear filter" onclick={let query = query.clone(); move |()| query.set(String::new())} />
                </Empty>
            } else {
                <div class="card table-card">
                    <table class="cards-on-phone">
                        <thead><tr><th>{ "Name" }</th><th>{ "State" }</th><th>{ "Address" }</th><th>{ "Delivered" }</th><th>{ "Behind" }</th>
                            <th>{ "Dead letters" }</th><th>{ "Last delivery" }</th></tr></thead>
                        <tbody>
                            { for rows.iter().map(|webhook| {
                                let status = &webhook.status;
                                html! {
                                    <tr key={webhook.id.clone()} data-testid={format!("webhook-row-{}", webhook.name)}>
                                        <th scope="row" data-label="Name">
                                            <Link<Route> to={Route::Webhook { id: webhook.id.clone() }}>{ &webhook.name }</Link<Route>>
                                            { labels_view(&webhook.labels) }
                                        </th>
                                        <td data-label="State">{ badge_for(status.state.as_str(), &format!("webhook-state-{}", webhook.name)) }
                                            if let Some(reason) = &status.reason { <small class="muted">{ sentence(&reason.detail) }</small> }
                                        </td>
                                        <td data-label="Address"><code>{ &webhook.spec.url }</code></td>
                                        <td data-label="Delivered">{ count(status.delivered) }</td>
                                        <td data-label="Behind">{ count(status.behind) }</td>
                                        <td data-label="Dead letters" class={(status.dead_letters > 0).then_some("bad-text")}>{ count(status.dead_letters) }</td>
                                        <td data-label="Last delivery" class="nowrap muted">
                                            if let Some(success) = &status.last_success { <Ago time={success.at} /> } else { { "–" } }
                                        </td>
                                    </tr>
                                }
                            }) }
                        </tbody>
                    </table>
                </div>
            }
            <ListEnd kind={Kind::Webhook} more={webhooks.more.clone()} error={webhooks.error.clone()} />
            if props.creating { <WebhookCreate onclose={go(Route::Webhooks)} /> }
        </>
    }
}
