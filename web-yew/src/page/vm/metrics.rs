//! How a machine does, second by second.

use crate::chart::{Chart, Line, Unit};
use crate::link::samples::use_samples;
use crate::link::stream::StreamState;
use crate::ui::{Empty, Glyph, Notice, Skeleton, facts_view};
use api::v1::{Vm, VmMetrics, VmmMetrics};
use model::encode::segment;
use model::format::{bytes, count, duration, plural, sentence};
use model::resource::Shared;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
}

#[component]
pub fn Metrics(props: &Props) -> Html {
    let vm = &props.vm;
    // Whether there is anything to measure is plain from the process; asked for when there is one, whatever the state.
    let path = vm.status.vmm.is_some().then(|| format!("/v1/vms/{}/metrics", segment(&vm.id)));
    let (window, state) = use_samples::<VmMetrics>(path.clone());
    let Some(last) = window.last().cloned() else {
        return match (path, state) {
            (None, _) => html! {
                <Empty glyph={Glyph::Operation} title="Nothing to measure">
                    <p>{ "The machine has no process now. Start it, and its CPU, memory, disk and network show here each second." }</p>
                </Empty>
            },
            (Some(_), StreamState::Lost(reason)) if !reason.is_empty() => html! {
                <Notice tone="info" title={sentence(&reason)}><p>{ "The console asks again by itself." }</p></Notice>
            },
            (Some(_), _) => html! { <div class="card"><Skeleton rows={6} /></div> },
        };
    };
    let end_ms = last.time_ms;
    let text = |text: String| html! { { text } };
    let facts = vec![
        ("Up for", text(duration(last.uptime_s))),
        ("Load", text(format!("{:.2} {:.2} {:.2}", last.load1, last.load5, last.load15))),
        ("Processes", text(count(u64::from(last.processes)))),
        ("Root disk", text(format!("{} of {}", bytes(last.disk_used_bytes as f64), bytes(last.disk_total_bytes as f64)))),
        ("Memory on the host", text(bytes(last.vmm_rss_bytes as f64))),
    ];
    html! {
        <>
            if let StreamState::Lost(_) = state { <Notice tone="warn" title="The stream of samples was cut off; connecting again." /> }
            <div class="card facts-row">{ facts_view(facts) }</div>
            if let Some(vmm) = &last.vmm { { outside(vmm) } }
            <div class="charts" data-testid="charts">
                <Chart title={format!("CPU, of {}", plural(u64::from(vm.spec.vcpus), "vCPU", "vCPUs"))} {end_ms} top={100.0} unit={Unit::Percent}
                    lines={vec![Line { name: "used", points: window.gauge(|s| s.cpu_percent) }]} />
                <Chart title={format!("Memory, of {}", bytes(last.mem_total_bytes as f64))} {end_ms} top={(last.mem_total_bytes as f64).max(1.0)}
                    unit={Unit::Bytes} lines={vec![Line { name: "used", points: window.gauge(|s| s.mem_used_bytes as f64) }]} />
                <Chart title="Disk" {end_ms} unit={Unit::Rate} lines={vec![
                    Line { name: "read", points: window.rate(|s| s.disk_read_bytes_total) },
                    Line { name: "written", points: window.rate(|s| s.disk_written_bytes_total) }]} />
                <Chart title="Network" {end_ms} unit={Unit::Rate} lines={vec![
                    Line { name: "received", points: window.rate(|s| s.net_received_bytes_total) },
                    Line { name: "sent", points: window.rate(|s| s.net_sent_bytes_total) }]} />
            </div>
        </>
    }
}

/// What the guest has no say in.
fn outside(vmm: &VmmMetrics) -> Html {
    let text = |text: String| html! { { text } };
    let size = |count: u64| bytes(count as f64);
    let mut facts: Vec<(AttrValue, Html)> = Vec::new();
    for drive in &vmm.drives {
        let throttled = drive.throttled_total.map(|times| format!(", held back {}", plural(times, "time", "times")));
        let (read, written) = (size(drive.read_bytes_total), size(drive.written_bytes_total));
        facts.push((
            AttrValue::from(format!("Drive {}", drive.name)),
            text(format!("{read} read, {written} written{}", throttled.unwrap_or_default())),
        ));
    }
    for interface in &vmm.interfaces {
        let dropped = interface.received_dropped_total.zip(interface.sent_dropped_total);
        let dropped = dropped.map(|(received, sent)| format!(", {} dropped", count(received.saturating_add(sent))));
        let (received, sent) = (size(interface.received_bytes_total), size(interface.sent_bytes_total));
        facts.push(("Network".into(), text(format!("{received} received, {sent} sent{}", dropped.unwrap_or_default()))));
    }
    if let Some(process) = &vmm.process {
        facts.push((
            "Process".into(),
            text(format!("{}, {}", size(process.rss_bytes), plural(process.threads, "thread", "threads"))),
        ));
        facts.extend(process.oom_kills_total.map(|kills| ("Killed for memory".into(), text(count(kills)))));
    }
    facts.extend(vmm.balloon_bytes.map(|given| ("Balloon".into(), text(size(given)))));
    if let Some(safety) = &vmm.safety {
        facts.push(("Seccomp faults".into(), text(count(safety.seccomp_faults_total))));
        facts.push(("Refused requests".into(), text(count(safety.api_failures_total))));
    }
    html! {
        <div class="card facts-row" data-testid="outside">
            <h3>{ "From outside the guest" }</h3>
            { facts_view(facts) }
            { for vmm.missing.iter().map(|missing| html! { <p class="muted">{ format!("Not known: {missing}") }</p> }) }
        </div>
    }
}
