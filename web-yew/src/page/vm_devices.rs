//! The part of a machine's forms that is about its devices: a field for each that the host's driver can do.

use crate::ui::{Field, Fold};
use api::problem::Problem;
use api::v1::{CpuTemplate, Facts};
use model::form::devices::{Devices, FIELDS, TEMPLATE};
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub devices: Devices,
    /// What the host's driver can do.
    pub can: Facts,
    pub problem: Option<Problem>,
    pub onchange: Callback<Devices>,
}

#[component]
pub fn DeviceFields(props: &Props) -> Html {
    let told = |name: &str| props.problem.as_ref().and_then(|problem| problem.fields.iter().find(|found| found.field == name));
    let field = |(place, field): (usize, &'static model::form::devices::Field)| {
        let oninput = {
            let (devices, onchange) = (props.devices.clone(), props.onchange.clone());
            Callback::from(move |event: InputEvent| {
                let mut next = devices.clone();
                if let Some(text) = next.typed.get_mut(place) {
                    *text = event.target_unchecked_into::<HtmlInputElement>().value();
                }
                onchange.emit(next);
            })
        };
        let error = told(field.name).map(|found| AttrValue::from(model::format::sentence(&found.detail)));
        let value = props.devices.typed.get(place).cloned();
        html! {
            <Field id={field.id} label={field.label} help={field.help} {error}>
                <input id={field.id} type="number" min="0" {value} {oninput} aria-describedby={format!("{}-help", field.id)} data-testid={field.id} />
            </Field>
        }
    };
    let ontemplate = {
        let (devices, onchange) = (props.devices.clone(), props.onchange.clone());
        Callback::from(move |event: Event| {
            let mut next = devices.clone();
            next.choose_template(&event.target_unchecked_into::<HtmlSelectElement>().value());
            onchange.emit(next);
        })
    };
    let mut shown = props.devices.shown(&props.can).peekable();
    let shows_template = props.devices.shows_template(&props.can);
    if shown.peek().is_none() && !shows_template {
        return html! {};
    }
    let template = props.devices.cpu_template;
    let template_wrong = told(TEMPLATE).map(|found| AttrValue::from(model::format::sentence(&found.detail)));
    html! {
        <Fold title={if shows_template { "Limits, memory, CPU template" } else { "Limits and memory" }} testid="devices"
            open={FIELDS.iter().map(|field| field.name).chain([TEMPLATE]).any(|name| told(name).is_some())}>
            <div class="form-grid">
                { for shown.map(field) }
                if shows_template {
                    <Field id="cpu-template" label="CPU template" error={template_wrong}
                        help="Makes processors look alike. The machine starts only on a processor that the template is for.">
                        <select id="cpu-template" onchange={ontemplate} aria-describedby="cpu-template-help" data-testid="cpu-template">
                            <option value="" selected={template.is_none()}>{ "None: the host's processor" }</option>
                            { for CpuTemplate::ALL.into_iter().map(|one| html! {
                                <option value={one.as_str()} selected={template == Some(one)}>{ one.as_str() }</option>
                            }) }
                        </select>
                    </Field>
                }
            </div>
        </Fold>
    }
}
