//! What a machine is, and how it is.

use super::edit::EditDialog;
use crate::hearth::use_hearth;
use crate::route::Route;
use crate::ui::{Ago, Button, Copyable, Notice, Tone, facts_view, labels_view};
use api::v1::{Drive, InterfaceStatus, RestartPolicy, Vm, VmState, interface};
use model::action::Availability;
use model::format::{mib, sentence};
use model::resource::Shared;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
}

fn text(text: impl Into<String>) -> Html {
    let text = text.into();
    html! { { text } }
}

#[component]
pub fn Overview(props: &Props) -> Html {
    let vm = &props.vm;
    let status = &vm.status;
    let editing = use_state(|| false);
    let update = Availability::of("update", &status.actions, &status.refused);
    html! {
        <>
            if let Some(reason) = &status.reason {
                <Notice tone={if status.state == VmState::Failed { "bad" } else { "info" }} title={sentence(&reason.detail)}>
                    <p class="muted"><code>{ &reason.code }</code></p>
                </Notice>
            }
            if let Some(problem) = &status.network_problem {
                <Notice tone="warn" title="It has no network"><p>{ sentence(problem) }</p></Notice>
            }
            <Progress vm={vm.clone()} />
            <div class="columns">
                <section class="card">
                    <header class="card-head"><h2>{ "Machine" }</h2>
                        <Button label="Edit" tone={Tone::Ghost} availability={update} onclick={let editing = editing.clone(); move |()| editing.set(true)}
                            testid="vm-edit" />
                    </header>
                    { facts_view(spec_facts(vm)) }
                </section>
                <section class="card">
                    <header class="card-head"><h2>{ "Now" }</h2></header>
                    <StatusFacts vm={vm.clone()} />
                </section>
            </div>
            if *editing { <EditDialog vm={vm.clone()} onclose={move |()| editing.set(false)} /> }
        </>
    }
}

fn spec_facts(vm: &Vm) -> Vec<(&'static str, Html)> {
    let spec = &vm.spec;
    let restart = match spec.restart {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on failure",
        RestartPolicy::Always => "always",
    };
    let most = spec.mem_max_mib.map_or_else(String::new, |most| format!(", at most {}", mib(most.into())));
    let memory = format!("{}{most}", mib(u64::from(spec.mem_mib)));
    let mut facts = vec![
        ("vCPUs", text(spec.vcpus.to_string())),
        ("Memory", text(memory)),
        ("Root disk", text(spec.disk_mib.map_or_else(|| "as large as the image".to_owned(), mib))),
        ("Image", html! { <Link<Route> to={Route::Images}>{ &spec.image }</Link<Route>> }),
        ("Kernel", text(spec.kernel.as_deref().unwrap_or("default"))),
        ("Network", text(interface::words(&vm.spec.networks, &vm.status.interfaces).unwrap_or_else(|| "none".to_owned()))),
        ("Restart", text(restart)),
    ];
    if !spec.drives.is_empty() {
        let words =
            |drive: &Drive| format!("{} {}{}", drive.name, mib(drive.size_mib), if drive.read_only { ", read-only" } else { "" });
        let lines = spec.drives.iter().map(|drive| html! { <div>{ words(drive) }</div> });
        facts.push(("Data drives", html! { { for lines } }));
    }
    if !spec.rate_limits.is_none() {
        facts.push(("Rate limits", text(spec.rate_limits.words())));
    }
    if spec.balloon_mib > 0 {
        facts.push(("Balloon", text(mib(spec.balloon_mib.into()))));
    }
    if let Some(template) = spec.cpu_template {
        facts.push(("CPU template", text(template.as_str().to_owned())));
    }
    if let Some(cloud_init) = &spec.cloud_init {
        facts.push(("cloud-init", text(cloud_init.words())));
    }
    if let Some(metadata) = &spec.metadata {
        let keys = metadata.keys().cloned().collect::<Vec<_>>().join(" ");
        facts.push((
            "Metadata",
            html! { <code title="The guest reads it at http://169.254.169.254, a change at once.">{ keys }</code> },
        ));
    }
    if let Some(cmdline) = &spec.cmdline {
        facts.push(("Kernel arguments", html! { <code>{ cmdline }</code> }));
    }
    if !vm.labels.is_empty() {
        facts.push(("Labels", html! { { labels_view(&vm.labels) } }));
    }
    facts.push(("Created", html! { <Ago time={vm.created_at} /> }));
    facts.push(("Id", html! { <Copyable text={vm.id.clone()} /> }));
    facts
}

#[component]
fn StatusFacts(props: &Props) -> Html {
    let hearth = use_hearth();
    let vm = &props.vm;
    let status = &vm.status;
    let host = match hearth.store().hosts.find(&status.host) {
        Some(host) => html! { <Link<Route> to={Route::Host { id: host.id.clone() }}>{ &host.name }</Link<Route>> },
        None => text(status.host.clone()),
    };
    let mut facts = vec![("Host", host)];
    match &status.vmm {
        Some(vmm) => {
            facts.push(("Runs in", text(format!("{} {}, process {}", vmm.driver, vmm.version, vmm.pid))));
            facts.push(("Confined", html! { <Confined id={vm.id.clone()} generation={vm.generation} /> }));
        }
        None => facts.push(("Runs in", html! { <span class="muted">{ "no process" }</span> })),
    }
    if let Some(started) = status.started_at {
        facts.push(("Started", html! { <Ago time={started} /> }));
    }
    let addresses = match status.ips.is_empty() {
        true => html! { <span class="muted">{ "none yet" }</span> },
        false => html! { { for status.ips.iter().map(|ip| html! { <Copyable text={ip.clone()} /> }) } },
    };
    facts.push(("Addresses", addresses));
    match status.interfaces.as_slice() {
        [] | [_] => facts.extend(status.mac.as_ref().map(|mac| ("MAC", html! { <Copyable text={mac.clone()} /> }))),
        several => {
            let line = |(place, interface): (usize, &InterfaceStatus)| {
                html! {
                    <div>{ format!("eth{place} {} ", interface.address) }<Copyable text={interface.mac.clone()} /></div>
                }
            };
            facts.push(("Interfaces", html! { { for several.iter().enumerate().map(line) } }));
        }
    }
    let agent = match &status.agent {
        Some(agent) if agent.connected => text(format!("connected, version {}", agent.version)),
        Some(agent) => html! { <span class="warn-text">{ format!("not connected, version {}", agent.version) }</span> },
        None => html! { <span class="muted">{ "not heard of yet" }</span> },
    };
    facts.push(("Guest agent", agent));
    if status.agent.as_ref().is_some_and(|agent| agent.connected) {
        facts.push(("Forward a port", html! { <Copyable text={format!("hearth vm forward {} 8080:80", vm.name)} /> }));
    }
    facts.push(("Restarts by policy", text(status.restarts.to_string())));
    html! { { facts_view(facts) } }
}

#[derive(PartialEq, Properties)]
struct ConfinedProps {
    id: String,
    /// Whatever has changed, it is asked for anew.
    generation: u64,
}

/// How the process is confined, which only a look at it tells.
#[component]
fn Confined(props: &ConfinedProps) -> Html {
    let (hearth, words) = (use_hearth(), use_state(String::new));
    {
        let words = words.clone();
        use_effect_with((props.id.clone(), props.generation), move |(id, _)| {
            let (api, path) = (hearth.live.api().clone(), format!("/v1/vms/{id}"));
            spawn_local(async move {
                let look = api.get::<Vm>(&path).await.ok().and_then(|vm| vm.status.vmm?.confinement);
                words.set(look.map_or_else(|| "not known".to_owned(), |look| look.words()));
            });
        });
    }
    text(words.as_str())
}

/// The operation in flight, while there is one.
#[component]
fn Progress(props: &Props) -> Html {
    let hearth = use_hearth();
    let operation = props.vm.status.operation.as_ref().and_then(|id| hearth.store().operations.get(id));
    let Some(operation) = operation.filter(|operation| operation.status == api::v1::OperationStatus::Running) else {
        return html! {};
    };
    let step = operation.steps.last().map(|step| step.name.replace('-', " ")).unwrap_or_default();
    html! {
        <div class="card progress" role="status">
            <p><b>{ sentence(&operation.kind.replace("vm-", "").replace('-', " ")) }</b>{ " " }<span class="muted">{ step }</span></p>
            <div class="bar info"><i style={format!("width:{}%", operation.progress)}></i></div>
        </div>
    }
}
