//! The dialog that makes a webhook, and shows its secret, this once.

use crate::hearth::{Telling, use_hearth};
use crate::link::http::{Accepted, decode};
use crate::ui::{Button, Copyable, Dialog, Field, Notice, ProblemNotice, Tone};
use api::problem::Problem;
use api::v1::{CreateWebhook, EventKind, Labels, Webhook, WebhookSpec};
use model::store::Msg;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

#[derive(Debug, Clone, Default, PartialEq)]
struct Form {
    name: String,
    url: String,
    kind: String,
    types: String,
}

impl Form {
    fn request(&self) -> CreateWebhook {
        let mut spec = WebhookSpec::to(self.url.trim());
        let kind = match self.kind.as_str() {
            "vm" => Some(EventKind::Vm),
            "image" => Some(EventKind::Image),
            "host" => Some(EventKind::Host),
            "operation" => Some(EventKind::Operation),
            _ => None,
        };
        spec.filter.kinds = kind.into_iter().collect();
        spec.filter.types = self.types.split([' ', ',']).filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
        CreateWebhook { name: self.name.trim().to_owned(), project: None, labels: Labels::new(), spec, secret: None, after: None }
    }
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub onclose: Callback<()>,
}

#[component]
pub fn WebhookCreate(props: &Props) -> Html {
    let hearth = use_hearth();
    let form = use_state(Form::default);
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    let secret = use_state(|| None::<String>);
    let edit = |change: fn(&mut Form, String)| {
        let form = form.clone();
        Callback::from(move |event: InputEvent| {
            let mut next = (*form).clone();
            change(&mut next, event.target_unchecked_into::<HtmlInputElement>().value());
            form.set(next);
        })
    };
    let onkind = {
        let form = form.clone();
        Callback::from(move |event: Event| {
            form.set(Form { kind: event.target_unchecked_into::<HtmlSelectElement>().value(), ..(*form).clone() });
        })
    };
    let wrong = |field: &str| {
        let fields = problem.as_ref().map(|problem| problem.fields.as_slice()).unwrap_or_default();
        fields.iter().find(|found| found.field == field).map(|found| AttrValue::from(model::format::sentence(&found.detail)))
    };
    let onsubmit = {
        let (form, busy, problem, secret, hearth) = (form.clone(), busy.clone(), problem.clone(), secret.clone(), hearth.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if *busy {
                return;
            }
            busy.set(true);
            let request = form.request();
            let telling = Telling { done: format!("{} is made", request.name), failed: format!("{} was not made", request.name) };
            let api = hearth.live.api().clone();
            let (busy, problem, secret, live) = (busy.clone(), problem.clone(), secret.clone(), hearth.live.clone());
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| {
                busy.set(false);
                match answer {
                    Ok(accepted) => {
                        if let Ok(mut webhook) = decode::<Webhook>(&accepted.body) {
                            // Shown here; the store does not keep it.
                            secret.set(webhook.secret.take());
                            live.apply(Msg::Webhook(Box::new(webhook)));
                        }
                    }
                    Err(found) => problem.set(Some(found)),
                }
            });
            hearth.run(async move { api.post("/v1/webhooks", &request).await }, telling, ended);
        })
    };
    if let Some(secret) = &*secret {
        return html! {
            <Dialog title="Keep the secret" onclose={props.onclose.clone()}>
                <div class="form">
                    <Notice tone="info" title="It is shown this once"><p>{ "Deliveries are signed with it; give it to the receiver." }</p></Notice>
                    <p data-testid="webhook-secret"><Copyable text={secret.clone()} /></p>
                    <footer><Button label="Done" tone={Tone::Primary} onclick={props.onclose.clone()} testid="webhook-create-done" /></footer>
                </div>
            </Dialog>
        };
    }
    html! {
        <Dialog title="Create a webhook" onclose={props.onclose.clone()}>
            <form {onsubmit} class="form">
                if let Some(problem) = problem.as_ref().filter(|problem| problem.fields.is_empty()) { <ProblemNotice problem={problem.clone()} /> }
                <Field id="name" label="Name" error={wrong("name")} help="Lower-case letters, digits and hyphens.">
                    <input id="name" required=true autofocus=true value={form.name.clone()} oninput={edit(|form, value| form.name = value)}
                        autocomplete="off" spellcheck="false" aria-describedby="name-help" data-testid="webhook-create-name" />
                </Field>
                <Field id="url" label="Address" error={wrong("spec.url")} help="http or https; redirects are not followed.">
                    <input id="url" required=true value={form.url.clone()} oninput={edit(|form, value| form.url = value)} placeholder="https://ci.example.test/hook"
                        autocomplete="off" spellcheck="false" aria-describedby="url-help" data-testid="webhook-create-url" />
                </Field>
                <Field id="kind" label="Events of" error={wrong("spec.filter.kinds")} help="">
                    <select id="kind" onchange={onkind}>
                        <option value="" selected={form.kind.is_empty()}>{ "everything" }</option>
                        <option value="vm">{ "virtual machines" }</option>
                        <option value="image">{ "images" }</option>
                        <option value="host">{ "hosts" }</option>
                        <option value="operation">{ "operations" }</option>
                    </select>
                </Field>
                <Field id="types" label="Only of these types" error={wrong("spec.filter.types")} help="Such as vm-started vm-stopped. Empty: all.">
                    <input id="types" value={form.types.clone()} oninput={edit(|form, value| form.types = value)} autocomplete="off"
                        spellcheck="false" aria-describedby="types-help" />
                </Field>
                <footer>
                    <Button label="Cancel" onclick={props.onclose.clone()} />
                    <Button label="Create" tone={Tone::Primary} submit={true} busy={*busy} testid="webhook-create-submit" />
                </footer>
            </form>
        </Dialog>
    }
}
