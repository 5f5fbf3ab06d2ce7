//! The part of a machine's forms that is about its devices: a field for each that the host's driver can do.

use crate::ui::Field;
use api::problem::Problem;
use api::v1::Facts;
use model::form::devices::{Devices, FIELDS};
use web_sys::HtmlInputElement;
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
                if let Some(text) = next.0.get_mut(place) {
                    *text = event.target_unchecked_into::<HtmlInputElement>().value();
                }
                onchange.emit(next);
            })
        };
        let error = told(field.name).map(|found| AttrValue::from(model::format::sentence(&found.detail)));
        let value = props.devices.0.get(place).cloned();
        html! {
            <Field id={field.id} label={field.label} help={field.help} {error}>
                <input id={field.id} type="number" min="0" {value} {oninput} aria-describedby={format!("{}-help", field.id)} data-testid={field.id} />
            </Field>
        }
    };
    let mut shown = props.devices.shown(&props.can).peekable();
    if shown.peek().is_none() {
        return html! {};
    }
    html! {
        <details open={FIELDS.iter().any(|field| told(field.name).is_some())}>
            <summary data-testid="devices">{ "Limits and balloon" }</summary>
            <div class="form-grid">{ for shown.map(field) }</div>
        </details>
    }
}
