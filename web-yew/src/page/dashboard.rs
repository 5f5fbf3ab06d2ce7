//! The dashboard: what is there, what needs attention, what happens now.

use super::parts::{EventList, Head, OperationList};
use crate::hearth::use_hearth;
use crate::route::Route;
use crate::ui::{Button, Empty, Glyph, Meter, Notice, ProblemNotice, Skeleton, Tone, badge};
use api::v1::{HostState, VmState};
use model::format::{count, mib, plural, sentence};
use std::collections::BTreeMap;
use yew::prelude::*;
use yew_router::prelude::*;

/// Enough to see what goes on; the pages have the rest.
const LINES: usize = 8;

#[component]
pub fn Dashboard() -> Html {
    let hearth = use_hearth();
    let store = hearth.store();
    let navigator = use_navigator();
    let create = Callback::from(move |()| {
        if let Some(navigator) = &navigator {
            navigator.push(&Route::VmNew);
        }
    });
    if store.hosts.pending() && store.vms.pending() {
        return html! { <><Head title="Dashboard" /><div class="card"><Skeleton rows={6} /></div></> };
    }
    let running = store.running_operations();
    let events: Vec<_> = store.events.iter().rev().take(LINES).cloned().collect();
    html! {
        <>
            <Head title="Dashboard">
                <Button label="Create VM" icon={Glyph::Plus} tone={Tone::Primary} onclick={create.clone()} />
            </Head>
            if let Some(problem) = store.vms.error.as_ref().or(store.hosts.error.as_ref()) {
                <ProblemNotice problem={problem.clone()} />
            }
            <Attention />
            <div class="tiles">
                <VmTile /><CapacityTile /><ImageTile />
            </div>
            <div class="columns">
                <section class="card" aria-labelledby="now">
                    <h2 id="now">{ "Under way" }</h2>
                    if running.is_empty() {
                        <p class="muted">{ "Nothing is being carried out right now." }</p>
                    } else {
                        <OperationList operations={running.into_iter().take(LINES).collect::<Vec<_>>()} />
                    }
                </section>
                <section class="card" aria-labelledby="recent">
                    <h2 id="recent">{ "Since you opened this page" }</h2>
                    if events.is_empty() {
                        <p class="muted">{ "Nothing yet. " }<Link<Route> to={Route::Events}>{ "Show earlier events" }</Link<Route>></p>
                    } else {
                        <EventList {events} />
                    }
                </section>
            </div>
            if store.vms.is_empty() && !store.vms.pending() {
                <Empty glyph={Glyph::Vm} title="No virtual machine yet">
                    <p>{ "A machine boots from an image in about a second. Start with a small one." }</p>
                    <Button label="Create the first VM" icon={Glyph::Plus} tone={Tone::Primary} onclick={create} />
                </Empty>
            }
        </>
    }
}

/// Only what is wrong; nothing when nothing is.
#[component]
fn Attention() -> Html {
    let hearth = use_hearth();
    let store = hearth.store();
    let failed = store.vms.rows().filter(|vm| vm.status.state == VmState::Failed);
    let hosts = store.hosts.rows().filter(|host| host.status.state != HostState::Healthy || !host.status.problems.is_empty());
    html! {
        <>
            { for hosts.take(LINES).map(|host| html! {
                <Notice tone={if host.status.state == HostState::Offline { "bad" } else { "warn" }}
                    title={format!("Host {} is {}", host.name, host.status.state.as_str())}>
                    { for host.status.problems.iter().map(|problem| html! { <p>{ sentence(problem) }</p> }) }
                    <p><Link<Route> to={Route::Host { id: host.id.clone() }}>{ "Show host" }</Link<Route>></p>
                </Notice>
            }) }
            { for failed.take(LINES).map(|vm| html! {
                <Notice tone="bad" title={format!("{} failed", vm.name)}>
                    if let Some(reason) = &vm.status.reason { <p>{ sentence(&reason.detail) }</p> }
                    <p><Link<Route> to={Route::Vm { id: vm.id.clone() }}>{ "Show machine" }</Link<Route>></p>
                </Notice>
            }) }
        </>
    }
}

#[component]
fn VmTile() -> Html {
    let hearth = use_hearth();
    let vms = &hearth.store().vms;
    let mut by_state = BTreeMap::<&str, u64>::new();
    vms.rows().for_each(|vm| *by_state.entry(vm.status.state.as_str()).or_default() += 1);
    html! {
        <section class="card tile" aria-labelledby="tile-vms">
            <h2 id="tile-vms"><Link<Route> to={Route::Vms}>{ "Virtual machines" }</Link<Route>></h2>
            <p class="big">{ count(vms.len() as u64) }</p>
            <p class="states">
                { for by_state.iter().map(|(state, number)| html! { <span>{ badge(state) }{ count(*number) }</span> }) }
            </p>
        </section>
    }
}

#[component]
fn CapacityTile() -> Html {
    let hearth = use_hearth();
    let hosts = &hearth.store().hosts;
    let sum = |value: fn(&api::v1::HostStatus) -> u64| hosts.rows().map(|host| value(&host.status)).sum::<u64>();
    let (cpus, held_cpus) = (sum(|host| u64::from(host.vm_vcpus)), sum(|host| host.held_vcpus));
    let (mem, held_mem) = (sum(|host| host.vm_mem_mib), sum(|host| host.held_mem_mib));
    html! {
        <section class="card tile" aria-labelledby="tile-capacity">
            <h2 id="tile-capacity"><Link<Route> to={Route::Hosts}>{ "Capacity" }</Link<Route>></h2>
            <p class="muted">{ plural(hosts.len() as u64, "host", "hosts") }</p>
            <Meter label="vCPUs" used={held_cpus as f64} total={cpus as f64} text={format!("{} of {}", count(held_cpus), count(cpus))} />
            <Meter label="Memory" used={held_mem as f64} total={mem as f64} text={format!("{} of {}", mib(held_mem), mib(mem))} />
        </section>
    }
}

#[component]
fn ImageTile() -> Html {
    let hearth = use_hearth();
    let images = &hearth.store().images;
    let size: u64 = images.rows().map(|image| image.status.size_bytes).sum();
    let kinds = |kind: &str| images.rows().filter(|image| image.spec.kind.as_str() == kind).count() as u64;
    html! {
        <section class="card tile" aria-labelledby="tile-images">
            <h2 id="tile-images"><Link<Route> to={Route::Images}>{ "Images" }</Link<Route>></h2>
            <p class="big">{ count(images.len() as u64) }</p>
            <p class="muted">
                { format!("{}, {}; {}", plural(kinds("kernel"), "kernel", "kernels"),
                    plural(kinds("rootfs"), "root file system", "root file systems"), model::format::bytes(size as f64)) }
            </p>
        </section>
    }
}
