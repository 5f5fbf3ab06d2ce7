//! The part of a machine's forms that is about its network interfaces.

use crate::ui::{Field, Fold};
use api::problem::Problem;
use model::form::networks;
use web_sys::HtmlInputElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub text: AttrValue,
    /// What can be done here, in a sentence or two.
    pub help: AttrValue,
    pub problem: Option<Problem>,
    pub onchange: Callback<String>,
    pub testid: AttrValue,
}

#[component]
pub fn NetworksField(props: &Props) -> Html {
    let error = networks::wrong(props.problem.as_ref()).map(|detail| AttrValue::from(model::format::sentence(detail)));
    let oninput = props.onchange.reform(|event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value());
    html! {
        <Fold title="Network interfaces" open={error.is_some()} testid="networks">
            <Field id="networks" label="Network interfaces" {error} help={props.help.clone()}>
                <textarea id="networks" rows="3" value={props.text.clone()} {oninput} spellcheck="false" aria-describedby="networks-help"
                    data-testid={props.testid.clone()} />
            </Field>
        </Fold>
    }
}
