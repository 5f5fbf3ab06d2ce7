//! The part of a machine's forms that is about its metadata.

use crate::ui::{Field, Fold};
use api::problem::Problem;
use api::v1::Facts;
use model::form::metadata;
use web_sys::HtmlInputElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub text: AttrValue,
    /// What the machine has, as text.
    #[prop_or_default]
    pub before: AttrValue,
    /// What can be done here, in a sentence or two.
    pub help: AttrValue,
    /// What the host's driver can do.
    pub can: Facts,
    pub problem: Option<Problem>,
    /// How often the form was sent with what is no metadata.
    pub attempt: u32,
    pub onchange: Callback<String>,
    pub testid: AttrValue,
}

#[component]
pub fn MetadataField(props: &Props) -> Html {
    if !metadata::is_shown(&props.can, &props.text) && !metadata::is_shown(&props.can, &props.before) {
        return html! {};
    }
    let refused = props.problem.as_ref().and_then(|problem| problem.fields.iter().find(|found| found.field == metadata::FIELD));
    let error = refused
        .map(|found| model::format::sentence(&found.detail))
        .or_else(|| metadata::asked(&props.text).err())
        .map(AttrValue::from);
    let oninput = props.onchange.reform(|event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value());
    html! {
        <Fold title="Metadata" open={error.is_some() || !props.before.is_empty()} attempt={props.attempt} testid="metadata">
            <Field id="metadata" label="Metadata" {error} help={props.help.clone()}>
                <textarea id="metadata" rows="4" value={props.text.clone()} {oninput} spellcheck="false" aria-describedby="metadata-help"
                    data-testid={props.testid.clone()} />
            </Field>
        </Fold>
    }
}
