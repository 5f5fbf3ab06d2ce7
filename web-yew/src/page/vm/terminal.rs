//! Terminals in the guest, several side by side. They last as long as this tab is shown.

use crate::term::Term;
use crate::ui::{Button, Empty, Glyph, Tone, icon};
use api::v1::Vm;
use model::action::Availability;
use model::encode::segment;
use model::format::sentence;
use model::resource::Shared;
use yew::prelude::*;

/// Each is a process in the guest and a connection of the browser.
const SESSIONS_AT_MOST: usize = 6;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
}

#[component]
pub fn Terminals(props: &Props) -> Html {
    let vm = &props.vm;
    // Numbers, never used again; the second is the one that is shown.
    let sessions = use_state(|| (vec![1u32], 1u32));
    // Terminals that were open stay when the machine stops: what they last said may be wanted, and they can connect again.
    let ever = use_mut_ref(|| false);
    let availability = Availability::of("shell", &vm.status.actions, &vm.status.refused);
    *ever.borrow_mut() |= availability.allowed();
    if let (Availability::Refused(reason), false) = (&availability, *ever.borrow()) {
        return html! {
            <Empty glyph={Glyph::Terminal} title="No terminal now"><p>{ sentence(reason) }</p></Empty>
        };
    }
    let (open, shown) = (*sessions).clone();
    let add = {
        let (sessions, open) = (sessions.clone(), open.clone());
        Callback::from(move |()| {
            let next = open.last().copied().unwrap_or(0) + 1;
            let mut open = open.clone();
            open.push(next);
            sessions.set((open, next));
        })
    };
    let show = |number: u32| {
        let (sessions, open) = (sessions.clone(), open.clone());
        move |_: MouseEvent| sessions.set((open.clone(), number))
    };
    let close = |number: u32| {
        let (sessions, open) = (sessions.clone(), open.clone());
        move |_: MouseEvent| {
            let rest: Vec<u32> = open.iter().copied().filter(|&other| other != number).collect();
            let next = if shown == number { rest.last().copied().unwrap_or(1) } else { shown };
            sessions.set((rest, next));
        }
    };
    let full = open.len() >= SESSIONS_AT_MOST;
    html! {
        <section class="terminals" aria-label="Terminals">
            <div class="term-tabs">
                { for open.iter().enumerate().map(|(at, &number)| html! {
                    <span class={classes!("term-tab", (number == shown).then_some("current"))}>
                        <button type="button" onclick={show(number)} aria-pressed={(number == shown).to_string()}
                            data-terminal-exit={(number == shown).then_some("")}>{ format!("Shell {}", at + 1) }</button>
                        if open.len() > 1 {
                            <button type="button" class="x" onclick={close(number)} aria-label={format!("Close shell {}", at + 1)}>{ icon(Glyph::Close) }</button>
                        }
                    </span>
                }) }
                <Button label="New shell" icon_only={true} icon={Glyph::Plus} tone={Tone::Ghost} onclick={add} testid="terminal-new"
                    availability={if full { Availability::Refused(format!("at most {SESSIONS_AT_MOST} at once")) } else { Availability::Allowed }} />
            </div>
            { for open.iter().map(|&number| html! {
                <Term key={number} path={format!("/v1/vms/{}/shell", segment(&vm.id))} label={format!("Shell in {}", vm.name)} shown={number == shown} />
            }) }
        </section>
    }
}
