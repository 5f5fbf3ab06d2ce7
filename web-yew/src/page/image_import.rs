//! The dialog that imports an image from a file on the host.

use crate::hearth::{Telling, use_hearth};
use crate::link::http::{Accepted, decode};
use crate::ui::{Button, Check, Dialog, Field, ProblemNotice, Tone};
use api::problem::Problem;
use api::v1::{CreateImage, Image, ImageKind, ImageSpec, Labels};
use model::store::Msg;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

#[derive(Debug, Clone, PartialEq)]
struct Form {
    name: String,
    kind: ImageKind,
    path: String,
    initrd: String,
    description: String,
    default: bool,
}

impl Form {
    fn request(&self) -> CreateImage {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let kernel = self.kind == ImageKind::Kernel;
        CreateImage {
            name: self.name.trim().to_owned(),
            project: None,
            labels: Labels::new(),
            spec: ImageSpec {
                kind: self.kind,
                path: self.path.trim().to_owned(),
                initrd: some(&self.initrd).filter(|_| kernel),
                default: self.default && kernel,
                description: some(&self.description),
            },
        }
    }
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub onclose: Callback<()>,
}

#[component]
pub fn ImageImport(props: &Props) -> Html {
    let hearth = use_hearth();
    let form = use_state(|| Form {
        name: String::new(),
        kind: ImageKind::Rootfs,
        path: String::new(),
        initrd: String::new(),
        description: String::new(),
        default: false,
    });
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    let edit = |change: fn(&mut Form, String)| {
        let form = form.clone();
        Callback::from(move |event: InputEvent| {
            let mut next = (*form).clone();
            change(&mut next, event.target_unchecked_into::<HtmlInputElement>().value());
            form.set(next);
        })
    };
    let onkind = {
        let form = form.clone();
        Callback::from(move |event: Event| {
            let kernel = event.target_unchecked_into::<HtmlSelectElement>().value() == "kernel";
            form.set(Form { kind: if kernel { ImageKind::Kernel } else { ImageKind::Rootfs }, ..(*form).clone() });
        })
    };
    let wrong = |field: &str| {
        let fields = problem.as_ref().map(|problem| problem.fields.as_slice()).unwrap_or_default();
        fields.iter().find(|found| found.field == field).map(|found| AttrValue::from(model::format::sentence(&found.detail)))
    };
    let onsubmit = {
        let (form, busy, problem, hearth, onclose) =
            (form.clone(), busy.clone(), problem.clone(), hearth.clone(), props.onclose.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if *busy {
                return;
            }
            busy.set(true);
            let request = form.request();
            let telling =
                Telling { done: format!("{} is ready", request.name), failed: format!("{} was not imported", request.name) };
            let api = hearth.live.api().clone();
            let (busy, problem, onclose, live) = (busy.clone(), problem.clone(), onclose.clone(), hearth.live.clone());
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| match answer {
                Ok(accepted) => {
                    if let Ok(image) = decode::<Image>(&accepted.body) {
                        live.apply(Msg::Image(Box::new(image)));
                    }
                    onclose.emit(());
                }
                Err(found) => {
                    problem.set(Some(found));
                    busy.set(false);
                }
            });
            hearth.run(async move { api.post("/v1/images", &request).await }, telling, ended);
        })
    };
    let kernel = form.kind == ImageKind::Kernel;
    html! {
        <Dialog title="Import an image" onclose={props.onclose.clone()}>
            <form {onsubmit} class="form">
                if let Some(problem) = problem.as_ref().filter(|problem| problem.fields.is_empty()) { <ProblemNotice problem={problem.clone()} /> }
                <Field id="kind" label="Kind" error={wrong("spec.kind")} help="What the file is.">
                    <select id="kind" onchange={onkind} aria-describedby="kind-help">
                        <option value="rootfs" selected={!kernel}>{ "Root file system (ext4)" }</option>
                        <option value="kernel" selected={kernel}>{ "Kernel" }</option>
                    </select>
                </Field>
                <Field id="name" label="Name" error={wrong("name")} help="Lower-case letters, digits and hyphens.">
                    <input id="name" required=true autofocus=true value={form.name.clone()} oninput={edit(|form, value| form.name = value)}
                        autocomplete="off" spellcheck="false" aria-describedby="name-help" data-testid="image-import-name" />
                </Field>
                <Field id="path" label="Path on the host" error={wrong("spec.path")} help="Absolute. The file is copied; it may be removed afterwards.">
                    <input id="path" required=true value={form.path.clone()} oninput={edit(|form, value| form.path = value)} placeholder="/srv/images/rootfs.ext4"
                        autocomplete="off" spellcheck="false" aria-describedby="path-help" data-testid="image-import-path" />
                </Field>
                if kernel {
                    <Field id="initrd" label="Initramfs with modules" error={wrong("spec.initrd")} help="Absolute path on the host. Empty: the kernel needs none.">
                        <input id="initrd" value={form.initrd.clone()} oninput={edit(|form, value| form.initrd = value)} autocomplete="off"
                            spellcheck="false" aria-describedby="initrd-help" />
                    </Field>
                    <Check label="Make it the default kernel" help="Machines that name no kernel boot from it." checked={form.default}
                        onchange={let form = form.clone(); move |on| form.set(Form { default: on, ..(*form).clone() })} />
                }
                <Field id="description" label="Description" error={wrong("spec.description")} help="">
                    <input id="description" value={form.description.clone()} oninput={edit(|form, value| form.description = value)} autocomplete="off" />
                </Field>
                <footer>
                    <Button label="Cancel" onclick={props.onclose.clone()} />
                    <Button label="Import" tone={Tone::Primary} submit={true} busy={*busy} testid="image-import-submit" />
                </footer>
            </form>
        </Dialog>
    }
}
