//! A state: a dot for the eye, a word for the meaning.

use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub state: AttrValue,
    #[prop_or_default]
    pub testid: Option<AttrValue>,
}

/// The colour only; what can be done in a state is the server's to say. An unknown word is neutral.
fn tone(state: &str) -> &'static str {
    match state {
        "running" | "healthy" | "ready" | "succeeded" | "live" | "done" => "ok",
        "failed" | "offline" => "bad",
        "degraded" | "paused" | "cordoned" => "warn",
        "creating" | "starting" | "pausing" | "resuming" | "stopping" | "snapshotting" | "restoring" | "deleting"
        | "importing" => "busy",
        _ => "calm",
    }
}

#[component]
pub fn Badge(props: &Props) -> Html {
    html! {
        <span class={classes!("badge", tone(&props.state))} data-testid={props.testid.clone()} data-state={props.state.clone()}>
            <i aria-hidden="true"></i>{ &props.state }
        </span>
    }
}
