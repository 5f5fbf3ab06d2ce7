//! The dialog that creates a virtual machine. The server judges the input; its words are shown at the fields that they are about.

use super::told::Told;
use super::vm_devices::DeviceFields;
use super::vm_metadata::MetadataField;
use super::vm_networks::NetworksField;
use crate::hearth::{Telling, use_hearth};
use crate::link::http::Accepted;
use crate::route::Route;
use crate::ui::{Button, Check, Dialog, Field, Fold, Notice, ProblemNotice, Tone};
use api::problem::Problem;
use api::v1::{CreateVm, Credentials, ImageKind, ImageState, RestartPolicy, VmSpec};
use model::form::{cloud_init, devices::Devices, drives, labels, metadata, networks, ssh_keys_hint, vm_name_hint};
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(Debug, Clone, PartialEq)]
struct Form {
    name: String,
    image: String,
    kernel: String,
    vcpus: String,
    mem_mib: String,
    disk_mib: String,
    drives: String,
    cmdline: String,
    labels: String,
    ssh_keys: String,
    user_data: String,
    password: bool,
    metadata: String,
    devices: Devices,
    restart: RestartPolicy,
    networks: String,
    start: bool,
}

impl Default for Form {
    fn default() -> Self {
        Form {
            name: String::new(),
            image: String::new(),
            kernel: String::new(),
            vcpus: "1".into(),
            mem_mib: "256".into(),
            disk_mib: String::new(),
            drives: String::new(),
            cmdline: String::new(),
            labels: String::new(),
            ssh_keys: String::new(),
            user_data: String::new(),
            password: false,
            metadata: String::new(),
            devices: Devices::default(),
            restart: RestartPolicy::default(),
            networks: "default".into(),
            start: true,
        }
    }
}

impl Form {
    /// A number that is none goes out as 0, which the server refuses in its own words.
    fn request(&self, image: &str) -> CreateVm {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        CreateVm {
            name: some(&self.name),
            project: None,
            labels: labels(&self.labels),
            start: self.start,
            spec: VmSpec {
                host: None,
                vcpus: self.vcpus.trim().parse().unwrap_or(0),
                mem_mib: self.mem_mib.trim().parse().unwrap_or(0),
                mem_max_mib: self.devices.mem_max_mib(),
                kernel: some(&self.kernel),
                image: image.to_owned(),
                disk_mib: some(&self.disk_mib).map(|text| text.parse().unwrap_or(0)),
                cmdline: some(&self.cmdline),
                networks: networks::asked(&self.networks),
                restart: self.restart,
                rate_limits: self.devices.rate_limits(),
                balloon_mib: self.devices.balloon_mib(),
                cpu_template: self.devices.cpu_template,
                cloud_init: cloud_init(&self.user_data, &self.ssh_keys, self.password),
                metadata: metadata::asked(&self.metadata).unwrap_or_default(),
                drives: drives::asked(&self.drives),
            },
        }
    }
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub onclose: Callback<()>,
}

#[component]
pub fn VmCreate(props: &Props) -> Html {
    let hearth = use_hearth();
    let form = use_state(Form::default);
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    let credentials = use_state(|| None::<Credentials>);
    // How often it was not sent, for what can be seen to be wrong.
    let refused = use_state(|| 0);
    let ready = |kind: ImageKind| {
        let images = hearth.store().images.rows().filter(move |image| image.spec.kind == kind);
        images.filter(|image| image.status.state == ImageState::Ready).cloned().collect::<Vec<_>>()
    };
    let (roots, kernels) = (ready(ImageKind::Rootfs), ready(ImageKind::Kernel));
    // The first image is chosen until another is.
    let image = if form.image.is_empty() {
        roots.first().map(|image| image.name.clone()).unwrap_or_default()
    } else {
        form.image.clone()
    };
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
    let choose = |field: fn(&mut Form, String)| {
        change(field).reform(|event: Event| event.target_unchecked_into::<HtmlSelectElement>().value())
    };
    let check = |change: fn(&mut Form, bool)| {
        let form = form.clone();
        Callback::from(move |on: bool| {
            let mut next = (*form).clone();
            change(&mut next, on);
            form.set(next);
        })
    };
    let wrong = |field: &str| {
        let fields = problem.as_ref().map(|problem| problem.fields.as_slice()).unwrap_or_default();
        fields.iter().find(|found| found.field == field).map(|found| AttrValue::from(model::format::sentence(&found.detail)))
    };
    // Whichever it will run on: until there are more, the one there is.
    let can = hearth.store().hosts.rows().next().map(|host| host.status.capabilities.clone()).unwrap_or_default();
    let ondevices = {
        let form = form.clone();
        Callback::from(move |devices: Devices| form.set(Form { devices, ..(*form).clone() }))
    };
    let keys_wrong = wrong("spec.cloud_init.ssh_keys").or_else(|| ssh_keys_hint(&form.ssh_keys).map(AttrValue::from));
    let data_wrong = wrong("spec.cloud_init.user_data").or_else(|| wrong("spec.cloud_init"));
    // Shown at a field, a problem need not be shown above the form too.
    let general = problem.as_ref().filter(|problem| problem.fields.is_empty()).cloned();
    let onsubmit = {
        let (form, busy, problem, hearth) = (form.clone(), busy.clone(), problem.clone(), hearth.clone());
        let (image, onclose, credentials, refused) = (image.clone(), props.onclose.clone(), credentials.clone(), refused.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if *busy {
                return;
            }
            if ssh_keys_hint(&form.ssh_keys).is_some() || metadata::asked(&form.metadata).is_err() {
                return refused.set(*refused + 1);
            }
            busy.set(true);
            let request = form.request(&image);
            let name = request.name.clone().unwrap_or_else(|| "The machine".to_owned());
            let done = if request.start { format!("{name} runs") } else { format!("{name} is created") };
            let telling = Telling { done, failed: format!("{name} was not created") };
            let api = hearth.live.api().clone();
            let ended = {
                let (busy, problem, onclose, hearth) = (busy.clone(), problem.clone(), onclose.clone(), hearth.clone());
                let credentials = credentials.clone();
                Callback::from(move |answer: Result<Accepted, Problem>| match answer {
                    // Shown here; the store does not keep them.
                    Ok(accepted) => match hearth.apply_vm(&accepted).and_then(|vm| vm.credentials) {
                        Some(told) => credentials.set(Some(told)),
                        None => onclose.emit(()),
                    },
                    Err(found) => {
                        problem.set(Some(found));
                        busy.set(false);
                    }
                })
            };
            hearth.run(async move { api.post("/v1/vms", &request).await }, telling, ended);
        })
    };
    if let Some(credentials) = &*credentials {
        return html! { <Told credentials={credentials.clone()} onclose={props.onclose.clone()} /> };
    }
    html! {
        <Dialog title="Create a virtual machine" onclose={props.onclose.clone()} wide={true}>
            <form {onsubmit} class="form">
                if let Some(problem) = general { <ProblemNotice {problem} /> }
                if roots.is_empty() && !hearth.store().images.pending() {
                    <Notice tone="warn" title="There is no image to boot from">
                        <p><Link<Route> to={Route::ImageImport}>{ "Import a root file system" }</Link<Route>>{ " first." }</p>
                    </Notice>
                }
                <div class="form-grid">
                    <Field id="name" label="Name" error={wrong("name").or_else(|| vm_name_hint(&form.name).map(AttrValue::from))}
                        help="Lower-case letters, digits and hyphens. Empty: chosen.">
                        <input id="name" value={form.name.clone()} oninput={edit(|form, value| form.name = value)} autocomplete="off" autofocus=true
                            spellcheck="false" aria-describedby="name-help" data-testid="vm-create-name" />
                    </Field>
                    <Field id="image" label="Image" error={wrong("spec.image")} help="The root file system; the machine gets a copy of its own.">
                        <select id="image" onchange={choose(|form, value| form.image = value)} aria-describedby="image-help" data-testid="vm-create-image">
                            { for roots.iter().map(|root| html! {
                                <option value={root.name.clone()} selected={root.name == image}>
                                    { format!("{} ({})", root.name, model::format::bytes(root.status.size_bytes as f64)) }</option>
                            }) }
                        </select>
                    </Field>
                    <Field id="vcpus" label="vCPUs" error={wrong("spec.vcpus")} help="1 to 32.">
                        <input id="vcpus" type="number" min="1" max="32" value={form.vcpus.clone()} oninput={edit(|form, value| form.vcpus = value)}
                            aria-describedby="vcpus-help" />
                    </Field>
                    <Field id="mem" label="Memory, MiB" error={wrong("spec.mem_mib")} help="At least 64.">
                        <input id="mem" type="number" min="64" step="64" value={form.mem_mib.clone()}
                            oninput={edit(|form, value| form.mem_mib = value)} aria-describedby="mem-help" />
                    </Field>
                    <Field id="disk" label="Root disk, MiB" error={wrong("spec.disk_mib")} help="Empty: as large as the image.">
                        <input id="disk" type="number" min="0" value={form.disk_mib.clone()} oninput={edit(|form, value| form.disk_mib = value)}
                            aria-describedby="disk-help" />
                    </Field>
                    <Field id="restart" label="Restart" error={wrong("spec.restart")} help="What happens when the machine ends by itself.">
                        <select id="restart" aria-describedby="restart-help" onchange={choose(|form, value| form.restart = match value.as_str() {
                            "never" => RestartPolicy::Never, "always" => RestartPolicy::Always, _ => RestartPolicy::OnFailure })}>
                            <option value="on-failure" selected={form.restart == RestartPolicy::OnFailure}>{ "On failure" }</option>
                            <option value="always" selected={form.restart == RestartPolicy::Always}>{ "Always" }</option>
                            <option value="never" selected={form.restart == RestartPolicy::Never}>{ "Never" }</option>
                        </select>
                    </Field>
                </div>
                <Fold title="More" open={wrong("spec.kernel").or_else(|| wrong("spec.cmdline")).or_else(|| wrong("labels")).is_some()}>
                    <div class="form-grid">
                        <Field id="kernel" label="Kernel" error={wrong("spec.kernel")} help="The default kernel fits most images.">
                            <select id="kernel" onchange={choose(|form, value| form.kernel = value)} aria-describedby="kernel-help">
                                <option value="" selected={form.kernel.is_empty()}>{ "Default" }</option>
                                { for kernels.iter().map(|kernel| html! {
                                    <option value={kernel.name.clone()} selected={kernel.name == form.kernel}>{ &kernel.name }</option>
                                }) }
                            </select>
                        </Field>
                        <Field id="cmdline" label="Kernel arguments" error={wrong("spec.cmdline")} help="Appended to hearth's own.">
                            <input id="cmdline" value={form.cmdline.clone()} oninput={edit(|form, value| form.cmdline = value)} autocomplete="off"
                                spellcheck="false" aria-describedby="cmdline-help" />
                        </Field>
                        <Field id="labels" label="Labels" error={wrong("labels")} help="For finding it again: tier=web owner=ops">
                            <input id="labels" value={form.labels.clone()} oninput={edit(|form, value| form.labels = value)} autocomplete="off"
                                spellcheck="false" aria-describedby="labels-help" />
                        </Field>
                    </div>
                </Fold>
                <DeviceFields devices={form.devices.clone()} can={can.clone()} problem={(*problem).clone()} onchange={ondevices} />
                <Fold title="Data drives" open={wrong("spec.drives").is_some()} testid="data-drives">
                    <Field id="drives" label="Data drives" error={wrong("spec.drives")}
                        help="One a line: its name, its size in MiB, and ro if the guest must not write to it; for example: data 10240">
                        <textarea id="drives" rows="3" value={form.drives.clone()} oninput={edit(|form, value| form.drives = value)}
                            spellcheck="false" aria-describedby="drives-help" data-testid="vm-create-drives" />
                    </Field>
                </Fold>
                <NetworksField text={form.networks.clone()} problem={(*problem).clone()} onchange={change(|form, value| form.networks = value)}
                    help="One a line, in the guest's order: default, and the MAC that it is to have, if you choose one. Empty: no network."
                    testid="vm-create-networks" />
                <Fold title="First boot" open={keys_wrong.is_some() || data_wrong.is_some()} attempt={*refused} testid="first-boot">
                    <div class="form-grid">
                        <Field id="ssh-keys" label="SSH keys" error={keys_wrong} help="Public keys, one a line, for the image's user. Needs cloud-init in the image.">
                            <textarea id="ssh-keys" rows="4" value={form.ssh_keys.clone()} oninput={edit(|form, value| form.ssh_keys = value)}
                                spellcheck="false" aria-describedby="ssh-keys-help" data-testid="vm-create-keys" />
                        </Field>
                        <Field id="user-data" label="User data" error={data_wrong} help="#cloud-config or a script, for cloud-init in the image.">
                            <textarea id="user-data" rows="4" value={form.user_data.clone()} oninput={edit(|form, value| form.user_data = value)}
                                spellcheck="false" aria-describedby="user-data-help" />
                        </Field>
                    </div>
                    <Check label="Make a password for the image's user" checked={form.password} onchange={check(|form, on| form.password = on)}
                        testid="vm-create-password" />
                </Fold>
                <MetadataField text={form.metadata.clone()} can={can.clone()} problem={(*problem).clone()} attempt={*refused}
                    onchange={change(|form, value| form.metadata = value)} testid="vm-create-metadata"
                    help="A JSON object, which the guest reads at http://169.254.169.254/ with all its users: nothing secret. Empty: none of yours." />
                <footer>
                    <Check label="Start it when it is created" checked={form.start} onchange={check(|form, on| form.start = on)} testid="vm-create-start" />
                    <Button label="Cancel" onclick={props.onclose.clone()} />
                    <Button label="Create" tone={Tone::Primary} submit={true} busy={*busy} testid="vm-create-submit" />
                </footer>
            </form>
        </Dialog>
    }
}
