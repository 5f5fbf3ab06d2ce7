//! The list of virtual machines. It changes by itself.

use super::parts::{Head, ListEnd};
use super::vm_create::VmCreate;
use crate::hearth::{VmAction, use_hearth};
use crate::route::Route;
use crate::ui::{Ago, Button, Empty, Glyph, Search, Skeleton, Tone, badge_for, icon, labels_view};
use api::v1::Vm;
use model::action::Availability;
use model::filter::Filter;
use model::format::{mib, plural};
use model::order;
use model::resource::{Kind, Shared};
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    /// The dialog is open; it has an address of its own.
    pub creating: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sort {
    Name,
    State,
    Newest,
}

fn sorted(mut rows: Vec<Shared<Vm>>, sort: Sort) -> Vec<Shared<Vm>> {
    match sort {
        Sort::Name => order::by(&mut rows, |a, b| a.name.cmp(&b.name)),
        Sort::State => order::by(&mut rows, |a, b| (a.status.state.as_str(), &a.name).cmp(&(b.status.state.as_str(), &b.name))),
        Sort::Newest => order::by_greatest(&mut rows, |vm| vm.created_at),
    }
    rows
}

#[component]
pub fn Vms(props: &Props) -> Html {
    let hearth = use_hearth();
    let navigator = use_navigator();
    let query = use_state(String::new);
    let sort = use_state(|| Sort::Name);
    let vms = &hearth.store().vms;
    let filter = Filter::parse(&query);
    let rows = sorted(vms.rows().filter(|vm| filter.matches(&***vm)).cloned().collect(), *sort);
    let go = |route: Route| {
        let navigator = navigator.clone();
        Callback::from(move |()| {
            if let Some(navigator) = &navigator {
                navigator.push(&route);
            }
        })
    };
    let head = |label: &'static str, by: Sort| {
        let sort_ = sort.clone();
        html! {
            <th aria-sort={if *sort == by { "ascending" } else { "none" }}>
                <button type="button" onclick={move |_: MouseEvent| sort_.set(by)}>{ label }</button>
            </th>
        }
    };
    let note = if filter.is_empty() { String::new() } else { format!("{} of {} shown", rows.len(), vms.len()) };
    html! {
        <>
            <Head title="Virtual machines" {note}>
                <Search label="Filter by name, label or state" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
                <Button label="Create VM" icon={Glyph::Plus} tone={Tone::Primary} onclick={go(Route::VmNew)} testid="vm-create-open" />
            </Head>
            if vms.pending() {
                <div class="card"><Skeleton /></div>
            } else if vms.is_empty() {
                if vms.error.is_none() {
                    <Empty glyph={Glyph::Vm} title="No virtual machine yet">
                        <p>{ "Choose an image, a name and a size; the machine boots in about a second." }</p>
                        <Button label="Create VM" icon={Glyph::Plus} tone={Tone::Primary} onclick={go(Route::VmNew)} />
                    </Empty>
                }
            } else if rows.is_empty() {
                <Empty glyph={Glyph::Search} title="No machine matches">
                    <p>{ format!("{} are hidden by the filter.", plural(vms.len() as u64, "machine", "machines")) }</p>
                    <Button label="Clear filter" onclick={let query = query.clone(); move |()| query.set(String::new())} />
                </Empty>
            } else {
                <div class="card table-card">
                    <table class="cards-on-phone">
                        <thead><tr>
                            { head("Name", Sort::Name) }{ head("State", Sort::State) }
                            <th>{ "Size" }</th><th>{ "Image" }</th><th>{ "Address" }</th><th>{ "Host" }</th>
                            { head("Created", Sort::Newest) }<th><span class="sr-only">{ "Actions" }</span></th>
                        </tr></thead>
                        <tbody>{ for rows.iter().map(|vm| html! { <Row key={vm.id.clone()} vm={vm.clone()} /> }) }</tbody>
                    </table>
                </div>
            }
            <ListEnd kind={Kind::Vm} more={vms.more.clone()} error={vms.error.clone()} />
            if props.creating { <VmCreate onclose={go(Route::Vms)} /> }
        </>
    }
}

#[derive(PartialEq, Properties)]
struct RowProps {
    vm: Shared<Vm>,
}

#[component]
fn Row(props: &RowProps) -> Html {
    let hearth = use_hearth();
    let busy = use_state(|| false);
    let vm = &props.vm;
    // One button, for what is most likely wanted; the rest is on the machine's page.
    let availability = |action: VmAction| Availability::of(action.word(), &vm.status.actions, &vm.status.refused);
    let offered = [VmAction::Start, VmAction::Resume, VmAction::Stop].into_iter().find(|action| availability(*action).allowed());
    let press = |action: VmAction| {
        let (hearth, busy, vm) = (hearth.clone(), busy.clone(), vm.clone());
        Callback::from(move |()| {
            busy.set(true);
            let busy = busy.clone();
            hearth.act(&vm, action, Callback::from(move |()| busy.set(false)));
        })
    };
    let open = |tab: &str| Route::VmTab { id: vm.id.clone(), tab: tab.to_owned() };
    html! {
        <tr data-testid={format!("vm-row-{}", vm.name)}>
            <th scope="row" data-label="Name">
                <Link<Route> to={Route::Vm { id: vm.id.clone() }}>{ &vm.name }</Link<Route>>
                { labels_view(&vm.labels) }
            </th>
            <td data-label="State">
                { badge_for(vm.status.state.as_str(), &format!("vm-state-{}", vm.name)) }
                if let Some(reason) = &vm.status.reason { <small class="reason" title={reason.detail.clone()}>{ reason.code.replace('-', " ") }</small> }
            </td>
            <td data-label="Size" class="nowrap">{ format!("{} vCPU · {}", vm.spec.vcpus, mib(u64::from(vm.spec.mem_mib))) }</td>
            <td data-label="Image">{ &vm.spec.image }</td>
            <td data-label="Address"><code>{ vm.status.ips.first().map_or("–", String::as_str) }</code></td>
            <td data-label="Host">{ &vm.status.host }</td>
            <td data-label="Created" class="nowrap muted"><Ago time={vm.created_at} /></td>
            <td class="row-tools">
                if vm.status.actions.iter().any(|action| action == "shell") {
                    <Link<Route> to={open("terminal")} classes="btn ghost">{ icon(Glyph::Terminal) }<span class="sr-only">
                        { format!("Terminal of {}", vm.name) }</span></Link<Route>>
                }
                if let Some(action) = offered {
                    <Button label={format!("{} {}", action.label(), vm.name)} icon_only={true} tone={Tone::Ghost} busy={*busy}
                        icon={if action == VmAction::Stop { Glyph::Stop } else { Glyph::Play }} onclick={press(action)} />
                }
            </td>
        </tr>
    }
}
