//! The button. One that may not be pressed stays in the tab order and says why: as a tooltip, and to screen readers.

use super::icon::{Glyph, icon};
use model::action::Availability;
use yew::prelude::*;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    Primary,
    #[default]
    Plain,
    Danger,
    /// No border: for tool bars.
    Ghost,
}

#[derive(PartialEq, Properties)]
pub struct Props {
    #[prop_or_default]
    pub label: AttrValue,
    /// Shown as the icon alone; `label` is then read, and shown as a tooltip.
    #[prop_or_default]
    pub icon_only: bool,
    #[prop_or_default]
    pub icon: Option<Glyph>,
    #[prop_or_default]
    pub tone: Tone,
    #[prop_or_default]
    pub onclick: Callback<()>,
    #[prop_or(Availability::Allowed)]
    pub availability: Availability,
    /// Its work is under way: pressing again does nothing.
    #[prop_or_default]
    pub busy: bool,
    #[prop_or_default]
    pub submit: bool,
    #[prop_or_default]
    pub testid: Option<AttrValue>,
    #[prop_or_default]
    pub class: Classes,
}

#[component]
pub fn Button(props: &Props) -> Html {
    let blocked = props.busy || !props.availability.allowed();
    let onclick = {
        let (onclick, submit) = (props.onclick.clone(), props.submit);
        Callback::from(move |event: MouseEvent| {
            if blocked {
                event.prevent_default();
            } else if !submit {
                onclick.emit(());
            }
        })
    };
    let tone = match props.tone {
        Tone::Primary => "primary",
        Tone::Plain => "plain",
        Tone::Danger => "danger",
        Tone::Ghost => "ghost",
    };
    let reason = props.availability.reason().map(model::format::sentence);
    let title = reason.clone().or_else(|| props.icon_only.then(|| props.label.to_string()));
    html! {
        <button type={if props.submit { "submit" } else { "button" }} class={classes!("btn", tone, props.class.clone())} {onclick}
            aria-disabled={blocked.then_some("true")} aria-busy={props.busy.then_some("true")} aria-description={reason} {title}
            aria-label={props.icon_only.then(|| props.label.clone())} data-testid={props.testid.clone()}>
            if props.busy {
                <span class="spinner" aria-hidden="true"></span>
            } else if let Some(glyph) = props.icon {
                { icon(glyph) }
            }
            if !props.icon_only {
                <span>{ &props.label }</span>
            }
        </button>
    }
}
