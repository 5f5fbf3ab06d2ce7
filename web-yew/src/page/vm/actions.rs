//! The buttons of a machine. Which may be pressed, and why not, is what the server says in `status`.

use super::delete::DeleteDialog;
use crate::hearth::{VmAction, use_hearth};
use crate::ui::{Button, Choice, Glyph, Menu, Tone};
use api::v1::Vm;
use model::action::{Availability, Deletion, deletion};
use model::resource::Shared;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
}

#[component]
pub fn Actions(props: &Props) -> Html {
    let hearth = use_hearth();
    let vm = &props.vm;
    let busy = use_state(|| None::<VmAction>);
    let deleting = use_state(|| false);
    let press = |action: VmAction| {
        let (hearth, busy, vm) = (hearth.clone(), busy.clone(), vm.clone());
        Callback::from(move |()| {
            busy.set(Some(action));
            let busy = busy.clone();
            hearth.act(&vm, action, Callback::from(move |()| busy.set(None)));
        })
    };
    let availability = |word: &str| Availability::of(word, &vm.status.actions, &vm.status.refused);
    let button = |action: VmAction, icon: Glyph, tone: Tone| {
        html! {
            <Button label={action.label()} {icon} {tone} onclick={press(action)} busy={*busy == Some(action)}
                availability={availability(action.word())} testid={format!("action-{}", action.word())} />
        }
    };
    let force = |action: VmAction, testid: &'static str| Choice {
        label: format!("{} now, without asking the guest", action.label()).into(),
        availability: availability(action.word()),
        danger: true,
        testid: Some(testid.into()),
        chosen: press(action),
    };
    let delete = match deletion(&vm.status.actions, &vm.status.refused) {
        Deletion::Refused(reason) => Availability::Refused(reason),
        Deletion::Plain | Deletion::Force(_) => Availability::Allowed,
    };
    let start = if availability("start").allowed() { Tone::Primary } else { Tone::Plain };
    html! {
        <div class="actions" role="group" aria-label="Actions">
            { button(VmAction::Start, Glyph::Play, start) }
            <span class="split">
                { button(VmAction::Stop, Glyph::Stop, Tone::Plain) }
                <Menu label="More ways to stop" choices={vec![force(VmAction::ForceStop, "action-stop-force")]} testid="action-stop-menu" />
            </span>
            if availability("resume").allowed() {
                { button(VmAction::Resume, Glyph::Play, Tone::Primary) }
                <span class="sr-only">{ button(VmAction::Pause, Glyph::Pause, Tone::Plain) }</span>
            } else {
                { button(VmAction::Pause, Glyph::Pause, Tone::Plain) }
                { button(VmAction::Resume, Glyph::Play, Tone::Plain) }
            }
            <span class="split">
                { button(VmAction::Reboot, Glyph::Reboot, Tone::Plain) }
                <Menu label="More ways to reboot" choices={vec![force(VmAction::ForceReboot, "action-reboot-force")]} testid="action-reboot-menu" />
            </span>
            <Button label="Delete" icon={Glyph::Trash} tone={Tone::Danger} availability={delete} testid="action-delete"
                onclick={let deleting = deleting.clone(); move |()| deleting.set(true)} />
            if *deleting {
                <DeleteDialog vm={vm.clone()} onclose={let deleting = deleting.clone(); move |()| deleting.set(false)} />
            }
        </div>
    }
}
