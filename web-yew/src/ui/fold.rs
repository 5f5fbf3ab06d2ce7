//! A part of a form that is folded away until it is asked for, or something in it is wrong.

use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct FoldProps {
    pub title: AttrValue,
    /// It must be seen, as when something in it is wrong. Once it is open, only the user closes it.
    pub open: bool,
    /// How often the form was sent in vain: each time what must be seen opens again.
    #[prop_or_default]
    pub attempt: u32,
    #[prop_or_default]
    pub testid: Option<AttrValue>,
    pub children: Html,
}

#[component]
pub fn Fold(props: &FoldProps) -> Html {
    let shown = use_state(|| props.open);
    {
        let shown = shown.clone();
        use_effect_with((props.open, props.attempt), move |&(open, _)| {
            if open {
                shown.set(true);
            }
        });
    }
    // The browser would open it by itself, and then disagree with what is drawn next.
    let onclick = {
        let shown = shown.clone();
        Callback::from(move |event: MouseEvent| {
            event.prevent_default();
            shown.set(!*shown);
        })
    };
    html! {
        <details open={*shown}>
            <summary {onclick} data-testid={props.testid.clone()}>{ &props.title }</summary>
            { props.children.clone() }
        </details>
    }
}
