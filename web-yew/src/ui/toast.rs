//! Results of what the user did, at the edge of the page, read out by screen readers. Good news leaves by itself; errors wait.

use super::button::{Button, Tone};
use super::icon::{Glyph, icon};
use api::problem::Problem;
use gloo::timers::callback::Timeout;
use std::rc::Rc;
use yew::prelude::*;

const GOOD_NEWS_FOR_MS: u32 = 5_000;
/// More would cover the page; the oldest gives way.
const SHOWN_AT_MOST: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub struct Toast {
    pub title: String,
    pub problem: Option<Problem>,
}

#[derive(Default, Clone, PartialEq)]
pub struct Toasts {
    next: u64,
    shown: Vec<(u64, Toast)>,
}

pub enum ToastMsg {
    Push(Toast),
    Close(u64),
}

impl Reducible for Toasts {
    type Action = ToastMsg;
    fn reduce(self: Rc<Self>, msg: ToastMsg) -> Rc<Self> {
        let mut next = (*self).clone();
        match msg {
            ToastMsg::Push(toast) => {
                next.shown.retain(|(_, shown)| *shown != toast);
                next.shown.push((next.next, toast));
                next.next += 1;
                if next.shown.len() > SHOWN_AT_MOST {
                    next.shown.remove(0);
                }
            }
            ToastMsg::Close(id) => next.shown.retain(|(shown, _)| *shown != id),
        }
        Rc::new(next)
    }
}

#[derive(PartialEq, Properties)]
pub struct StackProps {
    pub toasts: UseReducerHandle<Toasts>,
}

#[component]
pub fn ToastStack(props: &StackProps) -> Html {
    html! {
        <section class="toasts" aria-label="Notifications" aria-live="polite" data-testid="toasts">
            { for props.toasts.shown.iter().map(|(id, toast)| {
                let (id, toasts) = (*id, props.toasts.dispatcher());
                let onclose = Callback::from(move |()| toasts.dispatch(ToastMsg::Close(id)));
                html! { <ToastView key={id} toast={toast.clone()} {onclose} /> }
            }) }
        </section>
    }
}

#[derive(PartialEq, Properties)]
struct ViewProps {
    toast: Toast,
    onclose: Callback<()>,
}

#[component]
fn ToastView(props: &ViewProps) -> Html {
    let bad = props.toast.problem.is_some();
    {
        let onclose = props.onclose.clone();
        use_effect_with((), move |()| {
            let timer = (!bad).then(|| Timeout::new(GOOD_NEWS_FOR_MS, move || onclose.emit(())));
            move || drop(timer)
        });
    }
    html! {
        <div class={classes!("toast", if bad { "bad" } else { "ok" })} role={if bad { "alert" } else { "status" }}>
            { icon(if bad { Glyph::Alert } else { Glyph::Check }) }
            <div>
                <strong>{ &props.toast.title }</strong>
                if let Some(problem) = &props.toast.problem {
                    <p>{ model::format::sentence(&problem.detail) }</p>
                    { for problem.fields.iter().map(|field| html! { <p><code>{ &field.field }</code>{ ": " }{ &field.detail }</p> }) }
                    if !problem.hint.is_empty() { <p class="muted">{ model::format::sentence(&problem.hint) }</p> }
                    if !problem.request_id.is_empty() { <p class="muted"><code>{ &problem.request_id }</code></p> }
                }
            </div>
            <Button label="Dismiss" icon_only={true} icon={Glyph::Close} tone={Tone::Ghost} onclick={props.onclose.clone()} />
        </div>
    }
}
