//! One virtual machine: its head with the actions, and its tabs.

mod actions;
mod delete;
mod edit;
mod events;
mod logs;
mod metrics;
mod overview;
mod terminal;

use super::parts::Head;
use crate::hearth::use_hearth;
use crate::route::Route;
use crate::ui::{Empty, Glyph, ProblemNotice, Skeleton, Tabs, badge_for};
use actions::Actions;
use model::resource::Kind;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    /// Or the name: people type addresses.
    pub id: AttrValue,
    pub tab: AttrValue,
}

#[component]
pub fn VmPage(props: &Props) -> Html {
    let hearth = use_hearth();
    let vms = &hearth.store().vms;
    let known = vms.find(&props.id).cloned();
    {
        // Beyond the rows that a list loads by itself, it has to be asked for.
        let live = hearth.live.clone();
        let missing = known.is_none() && !vms.pending() && vms.more.is_some();
        use_effect_with((props.id.clone(), missing), move |(id, missing)| {
            if *missing {
                live.fetch(Kind::Vm, id);
            }
        });
    }
    let Some(vm) = known else {
        if vms.pending() {
            return html! { <><Head title="Virtual machine" /><div class="card"><Skeleton /></div></> };
        }
        return html! {
            <>
                if let Some(problem) = &vms.error { <ProblemNotice problem={problem.clone()} /> }
                <Empty glyph={Glyph::Vm} title="There is no such machine">
                    <p>{ "It may have been deleted. " }<Link<Route> to={Route::Vms}>{ "All machines" }</Link<Route>></p>
                </Empty>
            </>
        };
    };
    let tab = |key: &'static str, label: &'static str| {
        let id = vm.id.clone();
        let route = if key == "overview" { Route::Vm { id } } else { Route::VmTab { id, tab: key.to_owned() } };
        (key, label, route)
    };
    let tabs = vec![
        tab("overview", "Overview"),
        tab("terminal", "Terminal"),
        tab("metrics", "Metrics"),
        tab("events", "Events"),
        tab("logs", "Logs"),
    ];
    html! {
        <>
            <p class="crumbs"><Link<Route> to={Route::Vms}>{ "Virtual machines" }</Link<Route>></p>
            <Head title={vm.name.clone()}>
                { badge_for(vm.status.state.as_str(), "vm-state") }
                <Actions vm={vm.clone()} />
            </Head>
            <Tabs label="Machine" {tabs} current={props.tab.clone()} />
            { match props.tab.as_str() {
                "overview" => html! { <overview::Overview {vm} /> },
                "terminal" => html! { <terminal::Terminals key={vm.id.clone()} vm={vm.clone()} /> },
                "metrics" => html! { <metrics::Metrics {vm} /> },
                "events" => html! { <events::VmEvents id={vm.id.clone()} /> },
                "logs" => html! { <logs::Logs key={vm.id.clone()} vm={vm.clone()} /> },
                _ => html! { <Redirect<Route> to={Route::Vm { id: vm.id.clone() }} /> },
            } }
        </>
    }
}
