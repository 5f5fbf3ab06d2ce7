//! The dialog that shows a password that was made, this once.

use crate::ui::{Button, Copyable, Dialog, Notice, Tone};
use api::v1::Credentials;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub credentials: Credentials,
    pub onclose: Callback<()>,
}

#[component]
pub fn Told(props: &Props) -> Html {
    let told = &props.credentials;
    html! {
        <Dialog title="Keep the password" onclose={props.onclose.clone()}>
            <div class="form">
                if let Some(password) = &told.password {
                    <Notice tone="info" title="It is shown this once">
                        <p>{ "For the image's own user (debian, ubuntu, …), set by cloud-init at the first boot. hearth keeps only a hash of it." }</p>
                    </Notice>
                    <p data-testid="vm-password"><Copyable text={password.clone()} /></p>
                } else {
                    <Notice tone="warn" title="It was shown before"><p>{ told.words() }</p></Notice>
                }
                <footer><Button label="Done" tone={Tone::Primary} onclick={props.onclose.clone()} testid="vm-create-done" /></footer>
            </div>
        </Dialog>
    }
}
