//! The dialog that changes a machine. Only what was changed is sent, against the generation that was shown.

use crate::hearth::{Telling, use_hearth};
use crate::link::http::Accepted;
use crate::page::vm_devices::DeviceFields;
use crate::page::vm_metadata::MetadataField;
use crate::page::vm_networks::NetworksField;
use crate::ui::{Button, Dialog, Field, Fold, ProblemNotice, Tone};
use api::problem::Problem;
use api::v1::{PatchVm, PatchVmSpec, RestartPolicy, Vm};
use model::encode::segment;
use model::form::{devices::Devices, drives, labels, labels_text, metadata, networks};
use model::resource::Shared;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

#[derive(Debug, Clone, PartialEq)]
struct Form {
    name: String,
    labels: String,
    vcpus: String,
    mem_mib: String,
    disk_mib: String,
    /// To add or to change, and to take away: empty, whatever the machine has.
    drives: String,
    gone_drives: String,
    networks: String,
    metadata: String,
    cmdline: String,
    devices: Devices,
    restart: RestartPolicy,
}

impl Form {
    fn of(vm: &Vm) -> Form {
        Form {
            name: vm.name.clone(),
            labels: labels_text(&vm.labels),
            vcpus: vm.spec.vcpus.to_string(),
            mem_mib: vm.spec.mem_mib.to_string(),
            disk_mib: vm.spec.disk_mib.map_or_else(String::new, |mib| mib.to_string()),
            drives: String::new(),
            gone_drives: String::new(),
            networks: networks::text(&vm.spec.networks),
            metadata: metadata::text(vm.spec.metadata.as_ref()),
            devices: Devices::of(&vm.spec),
            cmdline: vm.spec.cmdline.clone().unwrap_or_default(),
            restart: vm.spec.restart,
        }
    }

    /// A number that is none goes out as 0, which the server refuses in its own words.
    fn patch(&self, before: &Form) -> PatchVm {
        let number = |now: &str, then: &str| (now != then).then(|| now.trim().parse().unwrap_or(0));
        let devices = self.devices.changes(&before.devices);
        let spec = PatchVmSpec {
            disk_mib: (self.disk_mib != before.disk_mib).then(|| self.disk_mib.trim().parse().unwrap_or(0)),
            drives: drives::changed(&self.drives),
            remove_drives: drives::removed(&self.gone_drives),
            networks: networks::changed(&self.networks, &before.networks),
            metadata: metadata::changed(&self.metadata, &before.metadata),
            rate_limits: devices.rate_limits.map(Some),
            balloon_mib: devices.balloon_mib,
            mem_max_mib: devices.mem_max_mib,
            cpu_template: devices.cpu_template,
            vcpus: number(&self.vcpus, &before.vcpus),
            mem_mib: number(&self.mem_mib, &before.mem_mib),
            cmdline: (self.cmdline != before.cmdline).then(|| self.cmdline.trim().to_owned()),
            restart: (self.restart != before.restart).then_some(self.restart),
            ..PatchVmSpec::default()
        };
        PatchVm {
            name: (self.name != before.name).then(|| self.name.trim().to_owned()),
            labels: (self.labels != before.labels).then(|| labels(&self.labels)),
            spec: (spec != PatchVmSpec::default()).then_some(spec),
        }
    }
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub vm: Shared<Vm>,
    pub onclose: Callback<()>,
}

#[component]
pub fn EditDialog(props: &Props) -> Html {
    let hearth = use_hearth();
    // As it was when the dialog was opened: what changed since must not be overwritten unseen.
    let opened = use_memo((), |()| props.vm.clone());
    let before = Form::of(&opened);
    let form = use_state(|| before.clone());
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    // How often it was not sent, for what can be seen to be wrong.
    let refused = use_state(|| 0);
    let change = |change: fn(&mut Form, String)| {
        let form = form.clone();
        Callback::from(move |value: String| {
            let mut next = (*form).clone();
            change(&mut next, value);
            form.set(next);
        })
    };
    let edit = |field: fn(&mut Form, String)| {
        change(field).reform(|event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value())
    };
    let onrestart = {
        let form = form.clone();
        Callback::from(move |event: Event| {
            let restart = match event.target_unchecked_into::<HtmlSelectElement>().value().as_str() {
                "never" => RestartPolicy::Never,
                "always" => RestartPolicy::Always,
                _ => RestartPolicy::OnFailure,
            };
            form.set(Form { restart, ..(*form).clone() });
        })
    };
    let wrong = |field: &str| {
        let fields = problem.as_ref().map(|problem| problem.fields.as_slice()).unwrap_or_default();
        fields.iter().find(|found| found.field == field).map(|found| AttrValue::from(model::format::sentence(&found.detail)))
    };
    let onsubmit = {
        let (form, busy, problem, hearth) = (form.clone(), busy.clone(), problem.clone(), hearth.clone());
        let (opened, before, onclose) = (opened.clone(), before.clone(), props.onclose.clone());
        let refused = refused.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if metadata::asked(&form.metadata).is_err() {
                return refused.set(*refused + 1);
            }
            let patch = form.patch(&before);
            if *busy || patch == PatchVm::default() {
                return onclose.emit(());
            }
            busy.set(true);
            let telling = Telling { done: format!("{} is changed", form.name), failed: format!("{} was not changed", form.name) };
            let (api, path, generation) =
                (hearth.live.api().clone(), format!("/v1/vms/{}", segment(&opened.id)), opened.generation);
            let (busy, problem, onclose, told) = (busy.clone(), problem.clone(), onclose.clone(), hearth.clone());
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| match answer {
                Ok(accepted) => {
                    told.apply_vm(&accepted);
                    onclose.emit(());
                }
                Err(found) => {
                    problem.set(Some(found));
                    busy.set(false);
                }
            });
            hearth.run(async move { api.patch(&path, generation, &patch).await }, telling, ended);
        })
    };
    let can = hearth.store().hosts.find(&opened.status.host).map(|host| host.status.capabilities.clone()).unwrap_or_default();
    let ondevices = {
        let form = form.clone();
        Callback::from(move |devices: Devices| form.set(Form { devices, ..(*form).clone() }))
    };
    let selected = |policy: RestartPolicy| form.restart == policy;
    html! {
        <Dialog title={format!("Edit {}", opened.name)} onclose={props.onclose.clone()} wide={true}>
            <form {onsubmit} class="form">
                if let Some(problem) = problem.as_ref().filter(|problem| problem.fields.is_empty()) { <ProblemNotice problem={problem.clone()} /> }
                <div class="form-grid">
                    <Field id="name" label="Name" error={wrong("name")}>
                        <input id="name" autofocus=true value={form.name.clone()} oninput={edit(|form, value| form.name = value)} autocomplete="off" />
                    </Field>
                    <Field id="labels" label="Labels" error={wrong("labels")} help="tier=web owner=ops">
                        <input id="labels" value={form.labels.clone()} oninput={edit(|form, value| form.labels = value)} autocomplete="off" />
                    </Field>
                    <Field id="vcpus" label="vCPUs" error={wrong("spec.vcpus")} help="Only while it is not running.">
                        <input id="vcpus" type="number" min="1" max="32" value={form.vcpus.clone()} oninput={edit(|form, value| form.vcpus = value)} />
                    </Field>
                    <Field id="mem" label="Memory, MiB" error={wrong("spec.mem_mib")}
                        help={if opened.spec.mem_max_mib.is_some() {
                            "While it runs, from what it was started with to what it may have at most."
                        } else {
                            "Only while it is not running."
                        }}>
                        <input id="mem" type="number" min="64" value={form.mem_mib.clone()} oninput={edit(|form, value| form.mem_mib = value)} />
                    </Field>
                    <Field id="disk" label="Root disk, MiB" error={wrong("spec.disk_mib")} help="Only larger; at once, also while it runs.">
                        <input id="disk" type="number" min="0" value={form.disk_mib.clone()} oninput={edit(|form, value| form.disk_mib = value)} />
                    </Field>
                    <Field id="cmdline" label="Kernel arguments" error={wrong("spec.cmdline")} help="Only while it is not running. Empty: none of yours.">
                        <input id="cmdline" value={form.cmdline.clone()} oninput={edit(|form, value| form.cmdline = value)} autocomplete="off" />
                    </Field>
                    <Field id="restart" label="Restart" error={wrong("spec.restart")}>
                        <select id="restart" onchange={onrestart}>
                            <option value="on-failure" selected={selected(RestartPolicy::OnFailure)}>{ "On failure" }</option>
                            <option value="always" selected={selected(RestartPolicy::Always)}>{ "Always" }</option>
                            <option value="never" selected={selected(RestartPolicy::Never)}>{ "Never" }</option>
                        </select>
                    </Field>
                </div>
                <DeviceFields devices={form.devices.clone()} can={can.clone()} problem={(*problem).clone()} onchange={ondevices} />
                <Fold title="Data drives" open={wrong("spec.drives").or_else(|| wrong("spec.remove_drives")).is_some()} testid="data-drives">
                    <div class="form-grid">
                        <Field id="drives" label="Add or change drives" error={wrong("spec.drives")}
                            help="One a line: its name, its size in MiB, never less than it is, and ro or rw. Others stay. While it runs, those that it writes to can grow.">
                            <textarea id="drives" rows="3" value={form.drives.clone()} oninput={edit(|form, value| form.drives = value)}
                                spellcheck="false" aria-describedby="drives-help" data-testid="vm-edit-drives" />
                        </Field>
                        <Field id="gone-drives" label="Remove drives" error={wrong("spec.remove_drives")}
                            help="Only while it is not running. Their names; what is on them is lost.">
                            <input id="gone-drives" value={form.gone_drives.clone()} oninput={edit(|form, value| form.gone_drives = value)}
                                autocomplete="off" spellcheck="false" aria-describedby="gone-drives-help" data-testid="vm-edit-gone-drives" />
                        </Field>
                    </div>
                </Fold>
                <NetworksField text={form.networks.clone()} problem={(*problem).clone()} onchange={change(|form, value| form.networks = value)}
                    help="Only while it is not running. One a line: default, and its MAC, if you choose one. What has the same MAC, or none, keeps its address."
                    testid="vm-edit-networks" />
                <MetadataField text={form.metadata.clone()} before={before.metadata.clone()} {can} problem={(*problem).clone()} attempt={*refused}
                    onchange={change(|form, value| form.metadata = value)} testid="vm-edit-metadata"
                    help="A JSON object, which a guest that runs reads at once, with all its users: nothing secret. Empty: none of yours." />
                <footer>
                    <Button label="Cancel" onclick={props.onclose.clone()} />
                    <Button label="Save" tone={Tone::Primary} submit={true} busy={*busy} testid="vm-edit-submit" />
                </footer>
            </form>
        </Dialog>
    }
}
