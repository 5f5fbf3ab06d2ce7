//! One webhook: how far it is, what went wrong last, its dead letters, and what can be done about them.

use super::parts::Head;
use super::webhooks::use_progress;
use crate::hearth::{Hearth, Telling, use_hearth};
use crate::link::http::{Accepted, decode};
use crate::route::Route;
use crate::ui::{Ago, Button, Copyable, Empty, Glyph, Notice, Skeleton, Tone, badge, facts_view, labels_view};
use api::problem::Problem;
use api::v1::{DeadLetter, List, PatchWebhook, PatchWebhookSpec, Redeliver, Webhook, WebhookTest};
use model::action::Availability;
use model::encode::segment;
use model::format::{count, duration, sentence};
use model::resource::Shared;
use model::store::Msg;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub id: AttrValue,
}

#[component]
pub fn WebhookPage(props: &Props) -> Html {
    let hearth = use_hearth();
    use_progress();
    let webhooks = &hearth.store().webhooks;
    let Some(webhook) = webhooks.find(&props.id).cloned() else {
        if webhooks.pending() {
            return html! { <><Head title="Webhook" /><div class="card"><Skeleton /></div></> };
        }
        return html! {
            <Empty glyph={Glyph::Webhook} title="There is no such webhook">
                <p><Link<Route> to={Route::Webhooks}>{ "All webhooks" }</Link<Route>></p>
            </Empty>
        };
    };
    let (spec, status) = (&webhook.spec, &webhook.status);
    let text = |text: String| html! { { text } };
    let list = |words: &[String]| if words.is_empty() { "all".to_owned() } else { words.join(", ") };
    let kinds: Vec<String> = spec.filter.kinds.iter().map(|kind| super::parts::kind_word(*kind).to_owned()).collect();
    let facts = vec![
        ("Address", html! { <code>{ &spec.url }</code> }),
        ("Kinds", text(list(&kinds))),
        ("Types", text(list(&spec.filter.types))),
        ("Resources", text(list(&spec.filter.ids))),
        ("One attempt", text(format!("{} s", spec.timeout_s))),
        ("Retried for", text(duration(spec.retry_for_s.into()))),
        ("Id", html! { <Copyable text={webhook.id.clone()} /> }),
    ];
    let ago = |at: Option<api::time::Timestamp>| at.map_or_else(|| html! { { "–" } }, |time| html! { <Ago {time} /> });
    let progress = vec![
        ("Cursor", text(count(status.cursor))),
        ("Behind", text(count(status.behind))),
        ("Delivered", text(count(status.delivered))),
        ("Last delivery", ago(status.last_success.as_ref().map(|success| success.at))),
        ("Last failure", ago(status.last_failure.as_ref().map(|failure| failure.at))),
        ("Dead letters", text(count(status.dead_letters))),
    ];
    html! {
        <>
            <p class="crumbs"><Link<Route> to={Route::Webhooks}>{ "Webhooks" }</Link<Route>></p>
            <Head title={webhook.name.clone()}>
                { badge(status.state.as_str()) }
                <Actions webhook={webhook.clone()} />
            </Head>
            if let Some(reason) = &status.reason { <Notice tone="warn" title={sentence(&reason.detail)} /> }
            if let (Some(failure), true) = (&status.last_failure, status.next_attempt_at.is_some()) {
                <Notice tone="warn" title={format!("Attempt {} at delivery {} failed", failure.attempts, failure.delivery)}>
                    <p>{ format!("{}. It is tried again.", sentence(&failure.detail)) }</p>
                </Notice>
            }
            <div class="columns">
                <section class="card"><h2>{ "What goes where" }</h2>{ facts_view(facts) }{ labels_view(&webhook.labels) }</section>
                <section class="card"><h2>{ "Progress" }</h2>{ facts_view(progress) }</section>
            </div>
            <Letters webhook={webhook.clone()} />
        </>
    }
}

#[derive(PartialEq, Properties)]
struct OneProps {
    webhook: Shared<Webhook>,
}

/// Sends a command about the webhook, shows the answer's state, and tells how it ended.
fn run(
    hearth: &Hearth,
    telling: Telling,
    work: impl Future<Output = Result<Accepted, Problem>> + 'static,
    busy: UseStateHandle<bool>,
) {
    busy.set(true);
    let (live, told) = (hearth.live.clone(), hearth.clone());
    let failed = telling.failed.clone();
    let ended = Callback::from(move |answer: Result<Accepted, Problem>| {
        busy.set(false);
        match answer {
            Ok(accepted) => {
                if let Ok(webhook) = decode::<Webhook>(&accepted.body) {
                    live.apply(Msg::Webhook(Box::new(webhook)));
                }
            }
            Err(problem) => told.complain(&failed, problem),
        }
    });
    hearth.run(work, telling, ended);
}

#[component]
fn Actions(props: &OneProps) -> Html {
    let hearth = use_hearth();
    let navigator = use_navigator();
    let busy = use_state(|| false);
    let webhook = &props.webhook;
    let path = format!("/v1/webhooks/{}", segment(&webhook.id));
    let enable = !webhook.spec.enabled;
    let ontoggle = {
        let (hearth, busy, path, webhook) = (hearth.clone(), busy.clone(), path.clone(), webhook.clone());
        Callback::from(move |()| {
            let word = if enable { "enabled" } else { "disabled" };
            let telling =
                Telling { done: format!("{} is {word}", webhook.name), failed: format!("{} was not {word}", webhook.name) };
            let spec = PatchWebhookSpec { enabled: Some(enable), ..PatchWebhookSpec::default() };
            let patch = PatchWebhook { spec: Some(spec), ..PatchWebhook::default() };
            let (api, path, generation) = (hearth.live.api().clone(), path.clone(), webhook.generation);
            run(&hearth, telling, async move { api.patch(&path, generation, &patch).await }, busy.clone());
        })
    };
    let ontest = {
        let (hearth, busy, path, name) = (hearth.clone(), busy.clone(), path.clone(), webhook.name.clone());
        Callback::from(move |()| {
            busy.set(true);
            let (hearth, busy, path, name) = (hearth.clone(), busy.clone(), path.clone(), name.clone());
            spawn_local(async move {
                let answer = hearth.live.api().post(&format!("{path}/test"), &serde_json::Map::new()).await;
                busy.set(false);
                match answer.and_then(|accepted| decode::<WebhookTest>(&accepted.body)) {
                    Ok(test) if test.ok => hearth.say(&format!("{name}'s receiver answered in {} ms", test.took_ms)),
                    Ok(test) => {
                        let detail = test.detail.unwrap_or_default();
                        let problem = Problem { detail, code: test.code.unwrap_or_default(), ..Problem::default() };
                        hearth.complain(&format!("{name}'s receiver did not take the test"), problem);
                    }
                    Err(problem) => hearth.complain("The test was not sent", problem),
                }
            });
        })
    };
    let ondelete = {
        let (hearth, busy, webhook) = (hearth.clone(), busy.clone(), webhook.clone());
        Callback::from(move |()| {
            let question = format!("Delete webhook {} and its dead letters?", webhook.name);
            if !web_sys::window().is_some_and(|window| window.confirm_with_message(&question).unwrap_or(false)) {
                return;
            }
            let telling =
                Telling { done: format!("{} is deleted", webhook.name), failed: format!("{} was not deleted", webhook.name) };
            let (api, path, generation) = (hearth.live.api().clone(), path.clone(), webhook.generation);
            let (busy, told, failed, navigator) = (busy.clone(), hearth.clone(), telling.failed.clone(), navigator.clone());
            busy.set(true);
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| {
                busy.set(false);
                match (answer, &navigator) {
                    (Err(problem), _) => told.complain(&failed, problem),
                    (Ok(_), Some(navigator)) => navigator.push(&Route::Webhooks),
                    (Ok(_), None) => {}
                }
            });
            hearth.run(async move { api.delete(&path, generation).await }, telling, ended);
        })
    };
    html! {
        <>
            <Button label="Send a test" busy={*busy} onclick={ontest} testid="webhook-test" />
            <Button label={if enable { "Enable" } else { "Disable" }} busy={*busy} onclick={ontoggle} testid="webhook-toggle" />
            <Button label="Delete" icon={Glyph::Trash} tone={Tone::Danger} busy={*busy} onclick={ondelete} testid="webhook-delete" />
        </>
    }
}

#[component]
fn Letters(props: &OneProps) -> Html {
    let hearth = use_hearth();
    let busy = use_state(|| false);
    let letters = use_state(Vec::<DeadLetter>::new);
    let webhook = &props.webhook;
    let path = format!("/v1/webhooks/{}", segment(&webhook.id));
    {
        // Asked for again when their number changes; nothing else about them does.
        let (api, letters, path) = (hearth.live.api().clone(), letters.clone(), format!("{path}/dead-letters"));
        let seen = (webhook.id.clone(), webhook.status.dead_letters, webhook.status.dead_letters_dropped);
        use_effect_with(seen, move |(_, number, _)| {
            if *number == 0 {
                letters.set(Vec::new());
            } else {
                spawn_local(async move {
                    if let Ok(list) = api.get::<List<DeadLetter>>(&path).await {
                        letters.set(list.items);
                    }
                });
            }
        });
    }
    let onredeliver = {
        let (hearth, busy, path, name) = (hearth.clone(), busy.clone(), format!("{path}/redeliver"), webhook.name.clone());
        Callback::from(move |()| {
            let telling = Telling {
                done: format!("{name} sends its dead letters again"),
                failed: format!("{name}'s dead letters were not sent"),
            };
            let (api, path) = (hearth.live.api().clone(), path.clone());
            run(&hearth, telling, async move { api.post(&path, &Redeliver::default()).await }, busy.clone());
        })
    };
    let status = &webhook.status;
    html! {
        <section class="card">
            <header class="card-head"><h2>{ "Dead letters" }</h2>
                <Button label="Send all again" busy={*busy} onclick={onredeliver} testid="webhook-redeliver"
                    availability={Availability::of("redeliver", &status.actions, &status.refused)} />
            </header>
            if status.dead_letters == 0 {
                <p class="muted">{ "No delivery was given up." }</p>
            } else {
                <table class="cards-on-phone">
                    <thead><tr><th>{ "Delivery" }</th><th>{ "Events" }</th><th>{ "Attempts" }</th><th>{ "Why" }</th><th>{ "Given up" }</th></tr></thead>
                    <tbody>
                        { for letters.iter().rev().map(|letter| html! {
                            <tr key={letter.delivery} data-testid={format!("dead-letter-{}", letter.delivery)}>
                                <th scope="row" data-label="Delivery">{ letter.delivery }</th>
                                <td data-label="Events" title={letter.events.iter().map(|event| event.event.as_str()).collect::<Vec<_>>().join(", ")}>
                                    { letter.events.len() }</td>
                                <td data-label="Attempts">{ letter.attempts }</td>
                                <td data-label="Why">{ sentence(&letter.detail) }</td>
                                <td data-label="Given up" class="nowrap muted"><Ago time={letter.set_aside_at} /></td>
                            </tr>
                        }) }
                    </tbody>
                </table>
            }
        </section>
    }
}
