//! The dialog before a machine is deleted: it cannot be undone, so it says what goes. A running one needs a second consent.

use crate::hearth::{Telling, use_hearth};
use crate::link::http::Accepted;
use crate::route::Route;
use crate::ui::{Button, Check, Dialog, Notice, ProblemNotice, Tone};
use api::problem::Problem;
use api::v1::Vm;
use model::action::{Availability, Deletion, deletion};
use model::encode::segment;
use model::format::sentence;
use model::resource::Shared;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
    pub onclose: Callback<()>,
}

#[component]
pub fn DeleteDialog(props: &Props) -> Html {
    let hearth = use_hearth();
    let navigator = use_navigator();
    let agreed = use_state(|| false);
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    let vm = &props.vm;
    let how = deletion(&vm.status.actions, &vm.status.refused);
    let force = matches!(how, Deletion::Force(_));
    let availability = match (&how, *agreed) {
        (Deletion::Refused(reason), _) => Availability::Refused(reason.clone()),
        (Deletion::Force(_), false) => Availability::Refused("agree to end it first".to_owned()),
        (Deletion::Force(_), true) | (Deletion::Plain, _) => Availability::Allowed,
    };
    let delete = {
        let (hearth, vm, busy, problem) = (hearth.clone(), vm.clone(), busy.clone(), problem.clone());
        let onclose = props.onclose.clone();
        Callback::from(move |()| {
            busy.set(true);
            let telling = Telling { done: format!("{} is deleted", vm.name), failed: format!("{} was not deleted", vm.name) };
            let path = format!("/v1/vms/{}{}", segment(&vm.id), if force { "?force=true" } else { "" });
            let (api, generation) = (hearth.live.api().clone(), vm.generation);
            let (busy, problem, onclose, navigator) = (busy.clone(), problem.clone(), onclose.clone(), navigator.clone());
            let told = hearth.clone();
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| match answer {
                Ok(accepted) => {
                    told.apply_vm(&accepted);
                    onclose.emit(());
                    if let Some(navigator) = &navigator {
                        navigator.push(&Route::Vms);
                    }
                }
                Err(found) => {
                    problem.set(Some(found));
                    busy.set(false);
                }
            });
            hearth.run(async move { api.delete(&path, generation).await }, telling, ended);
        })
    };
    html! {
        <Dialog title={format!("Delete {}?", vm.name)} onclose={props.onclose.clone()}>
            <div class="form">
                if let Some(problem) = &*problem { <ProblemNotice problem={problem.clone()} /> }
                <p>{ "The machine and its root disk are removed for good. Its image stays." }</p>
                if let Deletion::Force(reason) = &how {
                    <Notice tone="warn" title={sentence(reason)} />
                    <Check label="End it at once and delete it" help="What is not yet written inside it is lost." checked={*agreed}
                        onchange={let agreed = agreed.clone(); move |on| agreed.set(on)} testid="delete-force" />
                }
                <footer>
                    <Button label="Cancel" onclick={props.onclose.clone()} />
                    <Button label="Delete machine" tone={Tone::Danger} busy={*busy} {availability} onclick={delete} testid="delete-confirm" />
                </footer>
            </div>
        </Dialog>
    }
}
