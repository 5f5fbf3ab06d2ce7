//! A state: a dot for the eye, a word for the meaning.

use yew::prelude::*;

/// The colour only; what can be done in a state is the server's to say. An unknown word is neutral.
fn tone(state: &str) -> &'static str {
    match state {
        "running" | "healthy" | "ready" | "succeeded" | "live" | "done" => "ok",
        "failed" | "offline" | "stalled" | "quarantined" => "bad",
        "degraded" | "paused" | "cordoned" | "overdue" => "warn",
        "creating" | "starting" | "pausing" | "resuming" | "stopping" | "snapshotting" | "restoring" | "deleting"
        | "importing" | "restarting" => "busy",
        _ => "calm",
    }
}

pub fn badge(state: &str) -> Html {
    view(state, None)
}

/// One that tests look for.
pub fn badge_for(state: &str, testid: &str) -> Html {
    view(state, Some(testid.to_owned()))
}

fn view(state: &str, testid: Option<String>) -> Html {
    html! {
        <span class={classes!("badge", tone(state))} data-testid={testid} data-state={state.to_owned()}>
            <i aria-hidden="true"></i>{ state }
        </span>
    }
}
