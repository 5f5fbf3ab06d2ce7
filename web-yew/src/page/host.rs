//! One host: what it is, what it has room for, what is wrong with it, and how it does.

use super::parts::Head;
use crate::chart::{Chart, Line, Unit};
use crate::hearth::{Telling, use_hearth};
use crate::link::http::{Accepted, decode};
use crate::link::samples::use_samples;
use crate::route::Route;
use crate::ui::{Button, Copyable, Empty, Glyph, Meter, Notice, Skeleton, badge, facts_view, labels_view};
use api::problem::Problem;
use api::v1::{Host, HostMetrics};
use model::action::Availability;
use model::encode::segment;
use model::format::{bytes, count, mib, sentence};
use model::resource::Shared;
use model::store::Msg;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub id: AttrValue,
}

#[component]
pub fn HostPage(props: &Props) -> Html {
    let hearth = use_hearth();
    let hosts = &hearth.store().hosts;
    let Some(host) = hosts.find(&props.id).cloned() else {
        if hosts.pending() {
            return html! { <><Head title="Host" /><div class="card"><Skeleton /></div></> };
        }
        return html! {
            <Empty glyph={Glyph::Host} title="There is no such host"><p><Link<Route> to={Route::Hosts}>{ "All hosts" }</Link<Route>></p></Empty>
        };
    };
    let status = &host.status;
    let text = |text: &str| html! { { text.to_owned() } };
    let (can, can_not) = (status.capabilities.words(true), status.capabilities.words(false));
    let facts = vec![
        ("Host name", text(&status.hostname)),
        ("Kernel", text(&status.kernel)),
        ("Architecture", text(&status.architecture)),
        ("Processor", text(&format!("{} × {}", status.cpus, status.cpu_model))),
        ("Memory", text(&mib(status.mem_mib))),
        ("hearth", text(&status.hearth_version)),
        ("Runs machines with", text(&format!("{} {}", status.vmm, status.vmm_version))),
        ("Acceleration", text(&status.acceleration)),
        ("Why", text(&sentence(&status.vmm_reason))),
        ("Can", text(&can)),
        ("Can't", text(&can_not)),
        ("Id", html! { <Copyable text={host.id.clone()} /> }),
    ];
    html! {
        <>
            <p class="crumbs"><Link<Route> to={Route::Hosts}>{ "Hosts" }</Link<Route>></p>
            <Head title={host.name.clone()}>
                { badge(status.state.as_str()) }
                if host.spec.cordoned { { badge("cordoned") } }
                <Cordon host={host.clone()} />
            </Head>
            { for status.problems.iter().map(|problem| html! { <Notice tone="warn" title={sentence(problem)} /> }) }
            if let Some(problem) = &status.network_problem {
                <Notice tone="warn" title="Machines here get no network"><p>{ sentence(problem) }</p></Notice>
            }
            <div class="columns">
                <section class="card"><h2>{ "Facts" }</h2>{ facts_view(facts) }</section>
                <section class="card"><h2>{ "Capacity for machines" }</h2>
                    <Meter label="vCPUs" used={status.held_vcpus as f64} total={f64::from(status.vm_vcpus)}
                        text={format!("{} of {} held", count(status.held_vcpus), count(u64::from(status.vm_vcpus)))} />
                    <Meter label="Memory" used={status.held_mem_mib as f64} total={status.vm_mem_mib as f64}
                        text={format!("{} of {} held", mib(status.held_mem_mib), mib(status.vm_mem_mib))} />
                    <p class="muted">{ format!("{} machines are placed here, running or not.", count(status.vms)) }</p>
                    { labels_view(&host.labels) }
                </section>
            </div>
            <HostCharts id={host.id.clone()} />
        </>
    }
}

#[derive(PartialEq, Properties)]
struct CordonProps {
    host: Shared<Host>,
}

/// The server names at most one of the two as possible.
#[component]
fn Cordon(props: &CordonProps) -> Html {
    let hearth = use_hearth();
    let busy = use_state(|| false);
    let status = &props.host.status;
    let offered =
        ["cordon", "uncordon"].into_iter().find(|word| Availability::of(word, &status.actions, &status.refused).allowed());
    let Some(word) = offered else { return html! {} };
    let onclick = {
        let (hearth, host, busy) = (hearth.clone(), props.host.clone(), busy.clone());
        Callback::from(move |()| {
            busy.set(true);
            let telling =
                Telling { done: format!("{} is {word}ed", host.name), failed: format!("{} was not {word}ed", host.name) };
            let (api, path) = (hearth.live.api().clone(), format!("/v1/hosts/{}/{word}", segment(&host.id)));
            let (busy, told, failed) = (busy.clone(), hearth.clone(), telling.failed.clone());
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| {
                busy.set(false);
                match answer {
                    Ok(accepted) => {
                        if let Ok(host) = decode::<Host>(&accepted.body) {
                            told.live.apply(Msg::Host(Box::new(host)));
                        }
                    }
                    Err(problem) => told.complain(&failed, problem),
                }
            });
            hearth.run(async move { api.post(&path, &serde_json::Map::new()).await }, telling, ended);
        })
    };
    html! { <Button label={sentence(word)} busy={*busy} {onclick} /> }
}

#[derive(PartialEq, Properties)]
struct ChartsProps {
    id: AttrValue,
}

#[component]
fn HostCharts(props: &ChartsProps) -> Html {
    let (window, _) = use_samples::<HostMetrics>(Some(format!("/v1/hosts/{}/metrics", segment(&props.id))));
    let Some(last) = window.last() else { return html! { <div class="card"><Skeleton rows={3} /></div> } };
    let end_ms = last.time_ms;
    html! {
        <div class="charts">
            <Chart title="CPU" {end_ms} top={100.0} unit={Unit::Percent}
                lines={vec![Line { name: "used", points: window.gauge(|s| s.cpu_percent) }]} />
            <Chart title={format!("Memory, of {}", bytes(last.mem_total_bytes as f64))} {end_ms} top={last.mem_total_bytes as f64}
                unit={Unit::Bytes} lines={vec![Line { name: "used", points: window.gauge(|s| s.mem_used_bytes as f64) }]} />
            <Chart title={format!("Disk, of {}", bytes(last.disk_total_bytes as f64))} {end_ms} top={last.disk_total_bytes as f64}
                unit={Unit::Bytes} lines={vec![Line { name: "used", points: window.gauge(|s| s.disk_used_bytes as f64) }]} />
            <Chart title="Load" {end_ms} unit={Unit::Load} lines={vec![
                Line { name: "1 min", points: window.gauge(|s| s.load1) }, Line { name: "15 min", points: window.gauge(|s| s.load15) }]} />
        </div>
    }
}
