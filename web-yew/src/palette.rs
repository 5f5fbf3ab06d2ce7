//! The command palette: pages, machines, and what may be done with them now.

use crate::hearth::{Hearth, VmAction, use_hearth};
use crate::route::Route;
use crate::ui::{Dialog, Glyph, icon};
use model::action::Availability;
use model::order;
use model::palette::score;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;
use yew_router::prelude::*;

/// What fits without scrolling; more letters narrow it down.
const SHOWN_AT_MOST: usize = 9;

#[derive(Clone, PartialEq)]
enum Does {
    Go(Route),
    Act(String, VmAction),
}

#[derive(Clone, PartialEq)]
struct Entry {
    glyph: Glyph,
    text: String,
    note: String,
    does: Does,
}

fn entries(hearth: &Hearth) -> Vec<Entry> {
    let pages = [
        (Glyph::Dashboard, "Dashboard", Route::Dashboard),
        (Glyph::Vm, "Virtual machines", Route::Vms),
        (Glyph::Plus, "Create a virtual machine", Route::VmNew),
        (Glyph::Image, "Images", Route::Images),
        (Glyph::Webhook, "Webhooks", Route::Webhooks),
        (Glyph::Plus, "Import an image", Route::ImageImport),
        (Glyph::Host, "Hosts", Route::Hosts),
        (Glyph::Operation, "Operations", Route::Operations),
        (Glyph::Event, "Events", Route::Events),
        (Glyph::Tree, "Server", Route::Node),
    ];
    let mut entries: Vec<Entry> = pages
        .into_iter()
        .map(|(glyph, text, route)| Entry { glyph, text: text.to_owned(), note: String::new(), does: Does::Go(route) })
        .collect();
    for vm in hearth.store().vms.rows() {
        let note = vm.status.state.as_str().to_owned();
        let go = Does::Go(Route::Vm { id: vm.id.clone() });
        entries.push(Entry { glyph: Glyph::Vm, text: vm.name.clone(), note, does: go });
        for (glyph, action) in [
            (Glyph::Play, VmAction::Start),
            (Glyph::Stop, VmAction::Stop),
            (Glyph::Pause, VmAction::Pause),
            (Glyph::Play, VmAction::Resume),
            (Glyph::Reboot, VmAction::Reboot),
        ] {
            if Availability::of(action.word(), &vm.status.actions, &vm.status.refused).allowed() {
                let text = format!("{} {}", action.label(), vm.name);
                entries.push(Entry { glyph, text, note: String::new(), does: Does::Act(vm.id.clone(), action) });
            }
        }
        if vm.status.actions.iter().any(|action| action == "shell") {
            let go = Does::Go(Route::VmTab { id: vm.id.clone(), tab: "terminal".into() });
            entries.push(Entry {
                glyph: Glyph::Terminal,
                text: format!("Terminal of {}", vm.name),
                note: String::new(),
                does: go,
            });
        }
    }
    entries
}

fn ranked(entries: &[Entry], query: &str) -> Vec<Entry> {
    let mut scored: Vec<_> = entries.iter().filter_map(|entry| Some((score(query, &entry.text)?, entry))).collect();
    if !query.trim().is_empty() {
        order::by_greatest(&mut scored, |(score, _)| *score);
    }
    scored.into_iter().take(SHOWN_AT_MOST).map(|(_, entry)| entry.clone()).collect()
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub onclose: Callback<()>,
}

#[component]
pub fn Palette(props: &Props) -> Html {
    let hearth = use_hearth();
    let navigator = use_navigator();
    let query = use_state(String::new);
    let at = use_state(|| 0usize);
    let all = use_memo(hearth.store().vms.clone(), |_| entries(&hearth));
    let shown = ranked(&all, &query);
    let chosen = at.min(shown.len().saturating_sub(1));
    let run = {
        let (hearth, onclose) = (hearth.clone(), props.onclose.clone());
        Callback::from(move |does: Does| {
            onclose.emit(());
            match does {
                Does::Go(route) => {
                    if let Some(navigator) = &navigator {
                        navigator.push(&route);
                    }
                }
                Does::Act(id, action) => {
                    if let Some(vm) = hearth.store().vms.get(&id) {
                        hearth.act(vm, action, Callback::noop());
                    }
                }
            }
        })
    };
    let oninput = {
        let (query, at) = (query.clone(), at.clone());
        Callback::from(move |event: InputEvent| {
            query.set(event.target_unchecked_into::<HtmlInputElement>().value());
            at.set(0);
        })
    };
    let onkeydown = {
        let (at, run, shown) = (at.clone(), run.clone(), shown.clone());
        Callback::from(move |event: KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowDown" => 1,
                "ArrowUp" => shown.len().saturating_sub(1),
                "Enter" => {
                    event.prevent_default();
                    if let Some(entry) = shown.get(chosen) {
                        run.emit(entry.does.clone());
                    }
                    return;
                }
                _ => return,
            };
            event.prevent_default();
            at.set((chosen + step) % shown.len().max(1));
        })
    };
    let input = use_node_ref();
    {
        let input = input.clone();
        use_effect_with((), move |()| {
            input.get().and_then(|node| node.dyn_into::<HtmlElement>().ok()).map(|input| input.focus().ok());
        });
    }
    html! {
        <Dialog title="Search or run" onclose={props.onclose.clone()}>
            <div class="palette">
                <input ref={input} type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-label="Search or run"
                    aria-activedescendant={format!("palette-{chosen}")} placeholder="A machine, a page, an action" {oninput} {onkeydown}
                    autocomplete="off" spellcheck="false" data-testid="palette" />
                <ul id="palette-list" role="listbox">
                    { for shown.iter().enumerate().map(|(index, entry)| {
                        let (run, does) = (run.clone(), entry.does.clone());
                        html! {
                            <li id={format!("palette-{index}")} role="option" aria-selected={(index == chosen).to_string()}
                                onclick={move |_: MouseEvent| run.emit(does.clone())}>
                                { icon(entry.glyph) }<span>{ &entry.text }</span><small>{ &entry.note }</small>
                            </li>
                        }
                    }) }
                </ul>
                if shown.is_empty() { <p class="muted">{ "Nothing matches." }</p> }
            </div>
        </Dialog>
    }
}
