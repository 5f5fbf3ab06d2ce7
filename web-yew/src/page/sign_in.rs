//! Signing in with the token that hearth wrote when it first started.

use crate::link::http::Api;
use crate::session::{self, Remember};
use crate::ui::{Button, Check, Field, Notice, ProblemNotice, Tone};
use api::problem::Problem;
use wasm_bindgen_futures::spawn_local;
use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub signed_in: Callback<String>,
    /// The server stopped taking the token that was used so far.
    pub expired: bool,
}

#[component]
pub fn SignIn(props: &Props) -> Html {
    crate::hearth::use_title("Sign in");
    let token = use_state(String::new);
    let device = use_state(|| false);
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    let input = use_node_ref();
    {
        let input = input.clone();
        use_effect_with((), move |()| {
            input.cast::<HtmlElement>().map(|input| input.focus().ok());
        });
    }
    let onsubmit = {
        let (token, device, busy, problem) = (token.clone(), device.clone(), busy.clone(), problem.clone());
        let signed_in = props.signed_in.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let entered = token.trim().to_owned();
            if *busy || entered.is_empty() {
                return;
            }
            busy.set(true);
            let remember = if *device { Remember::Device } else { Remember::Tab };
            let (busy, problem, signed_in) = (busy.clone(), problem.clone(), signed_in.clone());
            spawn_local(async move {
                let api = Api::new(&entered, Callback::noop());
                match api.get::<serde_json::Value>("/v1/hosts?limit=1").await {
                    Ok(_) => {
                        session::keep(&entered, remember);
                        signed_in.emit(entered);
                    }
                    Err(found) => {
                        problem.set(Some(found));
                        busy.set(false);
                    }
                }
            });
        })
    };
    let oninput = {
        let token = token.clone();
        Callback::from(move |event: InputEvent| token.set(event.target_unchecked_into::<HtmlInputElement>().value()))
    };
    let refused = problem.as_ref().is_some_and(|problem| problem.status == 401);
    html! {
        <main class="sign-in">
            <form class="card" {onsubmit}>
                <img src="/icon.svg" alt="" width="40" height="40" />
                <h1>{ "Sign in to hearth" }</h1>
                if props.expired && problem.is_none() {
                    <Notice tone="info" title="You were signed out">
                        <p>{ "The server no longer takes the token. Sign in to return to where you were." }</p>
                    </Notice>
                }
                if let (false, Some(problem)) = (refused, &*problem) { <ProblemNotice problem={problem.clone()} /> }
                <Field id="token" label="Token" error={refused.then_some(AttrValue::from("The server does not know this token."))}
                    help="hearth wrote it at its first start; on the server: sudo cat data/admin.token">
                    <input id="token" ref={input} type="password" autocomplete="current-password" value={(*token).clone()} {oninput}
                        aria-describedby="token-help" aria-invalid={refused.then_some("true")} data-testid="sign-in-token" />
                </Field>
                <Check label="Remember on this device" help="Otherwise until this tab is closed." checked={*device}
                    onchange={let device = device.clone(); move |on| device.set(on)} />
                <Button label="Sign in" tone={Tone::Primary} submit={true} busy={*busy} testid="sign-in-submit" class="block" />
            </form>
        </main>
    }
}
