//! The list of hosts. They register themselves, so there is nothing to create.

use super::parts::{Head, ListEnd};
use crate::hearth::use_hearth;
use crate::route::Route;
use crate::ui::{Empty, Glyph, Meter, Skeleton, badge, labels_view};
use model::format::{count, mib, plural, sentence};
use model::order;
use model::resource::Kind;
use yew::prelude::*;
use yew_router::prelude::*;

#[component]
pub fn Hosts() -> Html {
    let hearth = use_hearth();
    let hosts = &hearth.store().hosts;
    let mut rows: Vec<_> = hosts.rows().cloned().collect();
    order::by(&mut rows, |a, b| a.name.cmp(&b.name));
    html! {
        <>
            <Head title="Hosts" note="The machines that run your machines." />
            if hosts.pending() {
                <div class="card"><Skeleton rows={2} /></div>
            } else if hosts.is_empty() && hosts.error.is_none() {
                <Empty glyph={Glyph::Host} title="No host has registered"><p>{ "A host appears here when hearth starts on it." }</p></Empty>
            }
            <div class="host-cards">
                { for rows.iter().map(|host| {
                    let status = &host.status;
                    html! {
                        <article class="card" key={host.id.clone()} data-testid={format!("host-{}", host.name)}>
                            <header class="card-head">
                                <h2><Link<Route> to={Route::Host { id: host.id.clone() }}>{ &host.name }</Link<Route>></h2>
                                { badge(status.state.as_str()) }
                                if host.spec.cordoned { { badge("cordoned") } }
                            </header>
                            <p class="muted">{ format!("{} {} · {} · {}", status.vmm, status.vmm_version, status.acceleration, plural(status.vms, "machine", "machines")) }</p>
                            { labels_view(&host.labels) }
                            <Meter label="vCPUs" used={status.held_vcpus as f64} total={f64::from(status.vm_vcpus)}
                                text={format!("{} of {}", count(status.held_vcpus), count(u64::from(status.vm_vcpus)))} />
                            <Meter label="Memory" used={status.held_mem_mib as f64} total={status.vm_mem_mib as f64}
                                text={format!("{} of {}", mib(status.held_mem_mib), mib(status.vm_mem_mib))} />
                            { for status.problems.iter().map(|problem| html! { <p class="warn-text">{ sentence(problem) }</p> }) }
                        </article>
                    }
                }) }
            </div>
            <ListEnd kind={Kind::Host} more={hosts.more.clone()} error={hosts.error.clone()} />
        </>
    }
}
