//! A button that opens a short list of choices. Arrow keys move, Esc and leaving close.

use super::icon::{Glyph, icon};
use model::action::Availability;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, Node};
use yew::prelude::*;

#[derive(Clone, PartialEq)]
pub struct Choice {
    pub label: AttrValue,
    pub availability: Availability,
    pub danger: bool,
    pub testid: Option<AttrValue>,
    pub chosen: Callback<()>,
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub label: AttrValue,
    pub choices: Vec<Choice>,
    #[prop_or_default]
    pub testid: Option<AttrValue>,
}

#[component]
pub fn Menu(props: &Props) -> Html {
    let open = use_state(|| false);
    let root = use_node_ref();
    let toggle = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    let onkeydown = {
        let (open, root) = (open.clone(), root.clone());
        Callback::from(move |event: KeyboardEvent| match event.key().as_str() {
            "Escape" if *open => {
                event.stop_propagation();
                open.set(false);
                focus(&root, 0, 0);
            }
            "ArrowDown" => {
                event.prevent_default();
                open.set(true);
                focus(&root, 1, 1);
            }
            "ArrowUp" => {
                event.prevent_default();
                focus(&root, -1, 1);
            }
            _ => {}
        })
    };
    let onfocusout = {
        let (open, root) = (open.clone(), root.clone());
        Callback::from(move |event: FocusEvent| {
            let inside = event.related_target().and_then(|target| target.dyn_into::<Node>().ok());
            let root = root.cast::<Node>();
            if !root.is_some_and(|root| root.contains(inside.as_ref())) {
                open.set(false);
            }
        })
    };
    html! {
        <div class="menu" ref={root} {onkeydown} {onfocusout}>
            <button type="button" class="btn plain caret" aria-haspopup="menu" aria-expanded={open.to_string()}
                aria-label={props.label.clone()} title={props.label.clone()} onclick={toggle} data-testid={props.testid.clone()}>
                { icon(Glyph::Down) }
            </button>
            if *open {
                <div class="menu-list" role="menu">
                    { for props.choices.iter().map(|choice| item(choice, &open)) }
                </div>
            }
        </div>
    }
}

fn item(choice: &Choice, open: &UseStateHandle<bool>) -> Html {
    let allowed = choice.availability.allowed();
    let onclick = {
        let (chosen, open) = (choice.chosen.clone(), open.clone());
        Callback::from(move |_: MouseEvent| {
            if allowed {
                open.set(false);
                chosen.emit(());
            }
        })
    };
    let reason = choice.availability.reason().map(model::format::sentence);
    html! {
        <button type="button" role="menuitem" class={classes!(choice.danger.then_some("danger"))} {onclick}
            aria-disabled={(!allowed).then_some("true")} aria-description={reason.clone()} title={reason}
            data-testid={choice.testid.clone()}>
            { &choice.label }
        </button>
    }
}

/// Moves the focus among the menu's buttons; `relative` 0: to the one at `by`.
fn focus(root: &NodeRef, by: i32, relative: i32) {
    let Some(root) = root.cast::<HtmlElement>() else { return };
    let Ok(buttons) = root.query_selector_all("button") else { return };
    let count = i32::try_from(buttons.length()).unwrap_or(1).max(1);
    let active = root.owner_document().and_then(|document| document.active_element());
    let at = (0..count).find(|&at| {
        let node = buttons.item(at as u32);
        node.zip(active.as_ref()).is_some_and(|(node, active)| node.is_same_node(Some(active)))
    });
    let next = (at.unwrap_or(0) * relative + by).rem_euclid(count);
    if let Some(button) = buttons.item(next as u32).and_then(|node| node.dyn_into::<HtmlElement>().ok()) {
        button.focus().ok();
    }
}
