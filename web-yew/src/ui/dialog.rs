//! A dialog: the browser's own modal one, which keeps the focus inside, closes on Esc and gives the focus back.

use super::button::{Button, Tone};
use super::icon::Glyph;
use web_sys::HtmlDialogElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub title: AttrValue,
    pub onclose: Callback<()>,
    #[prop_or_default]
    pub wide: bool,
    pub children: Html,
}

#[component]
pub fn Dialog(props: &Props) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        use_effect_with((), move |()| {
            let dialog = node.cast::<HtmlDialogElement>();
            if let Some(dialog) = &dialog
                && !dialog.open()
            {
                dialog.show_modal().ok();
            }
            // Closed before it leaves the page, or the focus is not given back to what opened it.
            move || {
                if let Some(dialog) = dialog {
                    dialog.close();
                }
            }
        });
    }
    let oncancel = {
        let onclose = props.onclose.clone();
        Callback::from(move |event: Event| {
            event.prevent_default();
            onclose.emit(());
        })
    };
    // A press on the backdrop arrives at the dialog itself.
    let onmousedown = {
        let (node, onclose) = (node.clone(), props.onclose.clone());
        Callback::from(move |event: MouseEvent| {
            if event.target().as_ref() == node.get().as_ref().map(AsRef::as_ref) {
                onclose.emit(());
            }
        })
    };
    let close = props.onclose.clone();
    html! {
        <dialog ref={node} class={classes!("dialog", props.wide.then_some("wide"))} aria-labelledby="dialog-title" {oncancel} {onmousedown}>
            <div class="dialog-box">
                <header>
                    <h2 id="dialog-title">{ &props.title }</h2>
                    <Button label="Close" icon_only={true} icon={Glyph::Close} tone={Tone::Ghost} onclick={close} />
                </header>
                { props.children.clone() }
            </div>
        </dialog>
    }
}
