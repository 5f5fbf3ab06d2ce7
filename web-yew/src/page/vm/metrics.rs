//! How a machine does, second by second.

use crate::chart::{Chart, Line, Unit};
use crate::link::samples::use_samples;
use crate::link::stream::StreamState;
use crate::ui::{Empty, Glyph, Notice, Skeleton, facts_view};
use api::v1::{Vm, VmMetrics};
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
