//! Fields of forms: a label, the control, and below it either help or what is wrong.

use super::icon::{Glyph, icon};
use web_sys::HtmlInputElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct FieldProps {
    pub id: AttrValue,
    pub label: AttrValue,
    #[prop_or_default]
    pub help: AttrValue,
    #[prop_or_default]
    pub error: Option<AttrValue>,
    pub children: Html,
}

/// The control inside must carry `id`, and should carry `aria-describedby="ID-help"`.
#[component]
pub fn Field(props: &FieldProps) -> Html {
    html! {
        <div class={classes!("field", props.error.is_some().then_some("wrong"))}>
            <label for={props.id.clone()}>{ &props.label }</label>
            { props.children.clone() }
            <p id={format!("{}-help", props.id)} class="help">
                if let Some(error) = &props.error {
                    { icon(Glyph::Alert) }{ error }
                } else {
                    { &props.help }
                }
            </p>
        </div>
    }
}

#[derive(PartialEq, Properties)]
pub struct CheckProps {
    pub label: AttrValue,
    #[prop_or_default]
    pub help: AttrValue,
    pub checked: bool,
    pub onchange: Callback<bool>,
    #[prop_or_default]
    pub testid: Option<AttrValue>,
}

#[component]
pub fn Check(props: &CheckProps) -> Html {
    let onchange = {
        let onchange = props.onchange.clone();
        Callback::from(move |event: Event| onchange.emit(event.target_unchecked_into::<HtmlInputElement>().checked()))
    };
    html! {
        <label class="check">
            <input type="checkbox" checked={props.checked} {onchange} data-testid={props.testid.clone()} />
            <span>{ &props.label }
                if !props.help.is_empty() { <small>{ &props.help }</small> }
            </span>
        </label>
    }
}

#[derive(PartialEq, Properties)]
pub struct SearchProps {
    pub value: AttrValue,
    pub label: AttrValue,
    pub oninput: Callback<String>,
}

/// The filter box of a list; `/` moves the focus here.
#[component]
pub fn Search(props: &SearchProps) -> Html {
    let oninput = {
        let oninput = props.oninput.clone();
        Callback::from(move |event: InputEvent| oninput.emit(event.target_unchecked_into::<HtmlInputElement>().value()))
    };
    let onkeydown = {
        let clear = props.oninput.clone();
        Callback::from(move |event: KeyboardEvent| {
            if event.key() == "Escape" {
                clear.emit(String::new());
                event.target_unchecked_into::<HtmlInputElement>().blur().ok();
            }
        })
    };
    html! {
        <div class="search">
            { icon(Glyph::Search) }
            <input type="search" data-search="" value={props.value.clone()} {oninput} {onkeydown} aria-label={props.label.clone()}
                placeholder={props.label.clone()} autocomplete="off" spellcheck="false" />
            <kbd aria-hidden="true">{ "/" }</kbd>
        </div>
    }
}
