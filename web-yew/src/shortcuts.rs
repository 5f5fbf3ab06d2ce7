//! Keys that work on every page, unless someone is typing or a dialog is open.

use crate::route::Route;
use crate::ui::Dialog;
use gloo::timers::callback::Timeout;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Document, HtmlElement, KeyboardEvent};
use yew::prelude::*;

/// How long `g` waits for its second key.
const SECOND_KEY_MS: u32 = 1_200;

#[derive(Debug, Clone, PartialEq)]
pub enum Shortcut {
    Palette,
    Help,
    Go(Route),
}

const KEYS: [(&str, &str); 12] = [
    ("Ctrl K", "Search, go somewhere or run an action"),
    ("/", "Filter the list"),
    ("c", "Create a virtual machine"),
    ("g then d", "Dashboard"),
    ("g then v", "Virtual machines"),
    ("g then i", "Images"),
    ("g then h", "Hosts"),
    ("g then o", "Operations"),
    ("g then e", "Events"),
    ("g then s", "Server"),
    ("?", "This help"),
    ("Esc", "Close what is open"),
];

fn second(key: &str) -> Option<Route> {
    match key {
        "d" => Some(Route::Dashboard),
        "v" => Some(Route::Vms),
        "i" => Some(Route::Images),
        "h" => Some(Route::Hosts),
        "o" => Some(Route::Operations),
        "e" => Some(Route::Events),
        "s" => Some(Route::Node),
        _ => None,
    }
}

#[hook]
pub fn use_shortcuts(pressed: Callback<Shortcut>) {
    let newest = use_mut_ref(|| pressed.clone());
    newest.replace(pressed);
    use_effect_with((), move |()| {
        let waiting: Rc<RefCell<Option<Timeout>>> = Rc::default();
        let listener = Closure::<dyn Fn(KeyboardEvent)>::new(move |event: KeyboardEvent| {
            if let Some(shortcut) = read(&event, &waiting) {
                event.prevent_default();
                let pressed = newest.borrow().clone();
                pressed.emit(shortcut);
            }
        });
        let document = web_sys::window().and_then(|window| window.document());
        if let Some(document) = &document {
            document.add_event_listener_with_callback("keydown", listener.as_ref().unchecked_ref()).ok();
        }
        move || {
            if let Some(document) = document {
                document.remove_event_listener_with_callback("keydown", listener.as_ref().unchecked_ref()).ok();
            }
        }
    });
}

fn read(event: &KeyboardEvent, waiting: &Rc<RefCell<Option<Timeout>>>) -> Option<Shortcut> {
    let document = web_sys::window()?.document()?;
    let key = event.key();
    let dialog = document.query_selector("dialog[open]").ok().flatten().is_some();
    if (event.ctrl_key() || event.meta_key()) && key.eq_ignore_ascii_case("k") && !dialog && !in_terminal(&document) {
        return Some(Shortcut::Palette);
    }
    if event.ctrl_key() || event.meta_key() || event.alt_key() || dialog || typing(&document) {
        return None;
    }
    if waiting.borrow_mut().take().is_some()
        && let Some(route) = second(&key)
    {
        return Some(Shortcut::Go(route));
    }
    match key.as_str() {
        "?" => Some(Shortcut::Help),
        "c" => Some(Shortcut::Go(Route::VmNew)),
        "/" => {
            let search = document.query_selector("[data-search]").ok().flatten()?;
            event.prevent_default();
            search.dyn_into::<HtmlElement>().ok()?.focus().ok();
            None
        }
        "g" => {
            let forget = Rc::downgrade(waiting);
            waiting.replace(Some(Timeout::new(SECOND_KEY_MS, move || {
                if let Some(waiting) = forget.upgrade() {
                    waiting.take();
                }
            })));
            None
        }
        _ => None,
    }
}

fn typing(document: &Document) -> bool {
    document.active_element().is_some_and(|element| matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"))
}

/// A guest's shell has its own use for Ctrl-K.
fn in_terminal(document: &Document) -> bool {
    document.active_element().is_some_and(|element| element.closest(".xterm").ok().flatten().is_some())
}

#[derive(PartialEq, Properties)]
pub struct HelpProps {
    pub onclose: Callback<()>,
}

#[component]
pub fn Help(props: &HelpProps) -> Html {
    html! {
        <Dialog title="Keyboard shortcuts" onclose={props.onclose.clone()}>
            <dl class="keys">
                { for KEYS.iter().map(|(keys, what)| html! {
                    <div><dt>{ for keys.split(' ').map(|key| if key == "then" { html! { <span>{ key }</span> } } else { html! { <kbd>{ key }</kbd> } }) }</dt>
                        <dd>{ what }</dd></div>
                }) }
            </dl>
        </Dialog>
    }
}
