//! The root: signed out it shows the sign-in page at whatever address was asked for, so that signing in returns there; signed in it keeps
//! the live view and gives every page the same [`Hearth`].

use crate::hearth::{Follow, Hearth};
use crate::link::http::Api;
use crate::link::live::{Console, Live};
use crate::page::sign_in::SignIn;
use crate::route::Route;
use crate::session;
use crate::shell::Shell;
use crate::ui::toast::{Toast, ToastMsg, ToastStack, Toasts};
use api::v1::OperationStatus;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use yew::prelude::*;
use yew_router::prelude::*;

#[component]
pub fn App() -> Html {
    html! { <BrowserRouter><Gate /></BrowserRouter> }
}

#[component]
fn Gate() -> Html {
    let token = use_state(session::token);
    let expired = use_state(|| false);
    let signed_in = {
        let (token, expired) = (token.clone(), expired.clone());
        Callback::from(move |new: String| {
            expired.set(false);
            token.set(Some(new));
        })
    };
    let signed_out = {
        let (token, expired) = (token.clone(), expired.clone());
        Callback::from(move |by_server: bool| {
            session::forget();
            expired.set(by_server);
            token.set(None);
        })
    };
    match &*token {
        None => html! { <SignIn {signed_in} expired={*expired} /> },
        Some(token) => html! { <Signed key={token.clone()} token={token.clone()} {signed_out} /> },
    }
}

#[derive(PartialEq, Properties)]
struct SignedProps {
    token: AttrValue,
    /// True: the server no longer takes the token.
    signed_out: Callback<bool>,
}

#[component]
fn Signed(props: &SignedProps) -> Html {
    let store = use_reducer(Console::default);
    let toasts = use_reducer(Toasts::default);
    let follows = use_mut_ref(Vec::<Follow>::new);
    let live = {
        let (dispatcher, signed_out) = (store.dispatcher(), props.signed_out.clone());
        use_memo(props.token.clone(), move |token| {
            Live::start(Api::new(token, Callback::from(move |()| signed_out.emit(true))), dispatcher)
        })
    };
    {
        let live = (*live).clone();
        use_effect_with((), move |()| {
            let hurry = hurry_when_back(&live);
            move || {
                drop(hurry);
                live.stop();
            }
        });
    }
    {
        // An operation that a click began: its end is told, wherever the user is by then.
        let (follows, toasts) = (follows.clone(), toasts.dispatcher());
        use_effect_with(store.0.operations.clone(), move |operations| {
            follows.borrow_mut().retain(|follow| {
                let Some(operation) = operations.get(&follow.operation) else { return true };
                match operation.status {
                    OperationStatus::Running | OperationStatus::Unknown => return true,
                    OperationStatus::Succeeded => {
                        toasts.dispatch(ToastMsg::Push(Toast { title: follow.done.clone(), problem: None }));
                    }
                    OperationStatus::Cancelled => {
                        let title = format!("{}: cancelled, all is as before", operation.target.name);
                        toasts.dispatch(ToastMsg::Push(Toast { title, problem: None }));
                    }
                    OperationStatus::Failed => {
                        let problem = operation.error.clone().unwrap_or_default();
                        toasts.dispatch(ToastMsg::Push(Toast { title: follow.failed.clone(), problem: Some(problem) }));
                    }
                }
                false
            });
        });
    }
    let sign_out = {
        let signed_out = props.signed_out.clone();
        Callback::from(move |()| signed_out.emit(false))
    };
    let hearth = Hearth { store, live: (*live).clone(), toasts: toasts.dispatcher(), follows, sign_out };
    html! {
        <ContextProvider<Hearth> context={hearth}>
            <Shell><Switch<Route> render={crate::page::switch} /></Shell>
            <ToastStack {toasts} />
        </ContextProvider<Hearth>>
    }
}

/// While it lives, the network's return and a look at the page bring the next attempt forward.
struct Hurry(Closure<dyn Fn()>);

const SIGNS_OF_LIFE: [&str; 2] = ["online", "focus"];

fn hurry_when_back(live: &Live) -> Hurry {
    let live = live.clone();
    let hurry = Hurry(Closure::new(move || live.hurry()));
    if let Some(window) = web_sys::window() {
        for sign in SIGNS_OF_LIFE {
            window.add_event_listener_with_callback(sign, hurry.0.as_ref().unchecked_ref()).ok();
        }
    }
    hurry
}

impl Drop for Hurry {
    fn drop(&mut self) {
        if let Some(window) = web_sys::window() {
            for sign in SIGNS_OF_LIFE {
                window.remove_event_listener_with_callback(sign, self.0.as_ref().unchecked_ref()).ok();
            }
        }
    }
}
