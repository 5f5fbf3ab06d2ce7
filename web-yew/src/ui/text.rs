//! Small ways to write values: times, facts, labels, shares, and what is to be copied.

use super::button::{Button, Tone};
use super::icon::Glyph;
use gloo::timers::callback::{Interval, Timeout};
use wasm_bindgen::JsCast;
use yew::prelude::*;

/// How often "5 min ago" is looked at again.
const TICK_MS: u32 = 10_000;
const COPIED_FOR_MS: u32 = 1_500;

#[derive(PartialEq, Properties)]
pub struct AgoProps {
    pub time: api::time::Timestamp,
}

/// How long ago; the time itself as a tooltip.
#[component]
pub fn Ago(props: &AgoProps) -> Html {
    let tick = use_force_update();
    use_effect_with((), move |()| {
        let interval = Interval::new(TICK_MS, move || tick.force_update());
        move || drop(interval)
    });
    let exact = props.time.to_string();
    html! {
        <time datetime={exact.clone()} title={exact}>
            { model::format::ago(props.time.as_millisecond(), js_sys::Date::now() as i64) }
        </time>
    }
}

/// Names and values.
pub fn facts_view<Name: Into<AttrValue>>(facts: Vec<(Name, Html)>) -> Html {
    html! {
        <dl class="facts">
            { for facts.into_iter().map(|(name, value)| html! { <div><dt>{ name.into() }</dt><dd>{ value }</dd></div> }) }
        </dl>
    }
}

pub fn labels_view(labels: &api::v1::Labels) -> Html {
    html! {
        <span class="labels">
            { for labels.iter().map(|(key, value)| html! {
                <span class="label">{ key }if !value.is_empty() { <b>{ value }</b> }</span>
            }) }
        </span>
    }
}

#[derive(PartialEq, Properties)]
pub struct MeterProps {
    pub label: AttrValue,
    pub used: f64,
    pub total: f64,
    /// Both in words.
    pub text: AttrValue,
}

#[component]
pub fn Meter(props: &MeterProps) -> Html {
    let share = if props.total > 0.0 { (props.used / props.total * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let tone = if share >= 90.0 {
        "bad"
    } else if share >= 75.0 {
        "warn"
    } else {
        "ok"
    };
    html! {
        <div class="meter">
            <div><span>{ &props.label }</span><span>{ &props.text }</span></div>
            <div class={classes!("bar", tone)} role="meter" aria-label={props.label.clone()} aria-valuemin="0" aria-valuemax="100"
                aria-valuenow={format!("{share:.0}")} aria-valuetext={props.text.clone()}>
                <i style={format!("width:{share:.1}%")}></i>
            </div>
        </div>
    }
}

#[derive(PartialEq, Properties)]
pub struct CopyableProps {
    pub text: AttrValue,
    /// What is shown, if not the text itself.
    #[prop_or_default]
    pub shown: Option<AttrValue>,
}

#[component]
pub fn Copyable(props: &CopyableProps) -> Html {
    let copied = use_state(|| false);
    let onclick = {
        let (text, copied) = (props.text.clone(), copied.clone());
        Callback::from(move |()| {
            copy(&text);
            copied.set(true);
            let copied = copied.clone();
            Timeout::new(COPIED_FOR_MS, move || copied.set(false)).forget();
        })
    };
    let glyph = if *copied { Glyph::Check } else { Glyph::Copy };
    html! {
        <span class="copyable">
            <code title={props.text.clone()}>{ props.shown.as_ref().unwrap_or(&props.text) }</code>
            <Button label={if *copied { "Copied" } else { "Copy" }} icon_only={true} icon={glyph} tone={Tone::Ghost} {onclick} />
        </span>
    }
}

/// The clipboard is there only on https and localhost; elsewhere the old way by a selected field.
fn copy(text: &str) {
    let Some(window) = web_sys::window() else { return };
    if window.is_secure_context() {
        drop(window.navigator().clipboard().write_text(text));
        return;
    }
    let Some(document) = window.document().and_then(|document| document.dyn_into::<web_sys::HtmlDocument>().ok()) else { return };
    let Ok(area) = document.create_element("textarea").map(JsCast::unchecked_into::<web_sys::HtmlTextAreaElement>) else {
        return;
    };
    area.set_value(text);
    if document.body().is_some_and(|body| body.append_child(&area).is_ok()) {
        area.select();
        document.exec_command("copy").ok();
        area.remove();
    }
}
