//! One terminal: xterm.js on one side, a WebSocket on the other. Bytes go through untouched; the size travels as a text frame.

use crate::hearth::use_hearth;
use crate::link::socket::{Heard, Socket};
use crate::ui::{Button, Glyph, Tone};
use api::v1::{Resize, TerminalControl};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlElement;
use yew::prelude::*;

#[wasm_bindgen(module = "/js/term.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    async fn open(
        node: &HtmlElement,
        data: &Closure<dyn Fn(String)>,
        resize: &Closure<dyn Fn(u16, u16)>,
    ) -> Result<JsValue, JsValue>;
    fn write(handle: &JsValue, bytes: &[u8]);
    fn say(handle: &JsValue, line: &str);
    fn focus(handle: &JsValue);
    fn dispose(handle: &JsValue);
}

#[derive(Debug, Clone, PartialEq)]
enum Line {
    Opening,
    Open,
    /// In words, why.
    Ended(String),
}

#[derive(PartialEq, Properties)]
pub struct Props {
    /// `/v1/vms/ID/shell` or `…/console`.
    pub path: AttrValue,
    pub label: AttrValue,
    /// Of several, the one that is seen.
    #[prop_or(true)]
    pub shown: bool,
}

/// What xterm.js calls: with what was typed, and with a new size.
type Listeners = (Closure<dyn Fn(String)>, Closure<dyn Fn(u16, u16)>);

/// What lives from opening to closing. Dropped as one: first the socket falls silent, then the terminal goes.
struct Session {
    socket: RefCell<Option<Socket>>,
    handle: RefCell<Option<JsValue>>,
    size: Cell<Option<Resize>>,
    closures: RefCell<Option<Listeners>>,
}

impl Session {
    fn send_size(&self) {
        let Some(resize) = self.size.get() else { return };
        let control = TerminalControl { resize: Some(resize), exit: None };
        if let (Some(socket), Ok(text)) = (&*self.socket.borrow(), serde_json::to_string(&control)) {
            socket.send_text(&text);
        }
    }

    fn say(&self, line: &str) {
        if let Some(handle) = &*self.handle.borrow() {
            say(handle, line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.socket.take();
        if let Some(handle) = self.handle.take() {
            dispose(&handle);
        }
    }
}

#[component]
pub fn Term(props: &Props) -> Html {
    let hearth = use_hearth();
    let node = use_node_ref();
    let line = use_state(|| Line::Opening);
    let attempt = use_state(|| 0u32);
    let session = use_mut_ref(|| None::<Rc<Session>>);
    {
        let (node, line, slot) = (node.clone(), line.clone(), session.clone());
        let token = hearth.live.api().token().to_owned();
        use_effect_with((props.path.clone(), *attempt), move |(path, _)| {
            line.set(Line::Opening);
            if let Some(node) = node.cast::<HtmlElement>() {
                slot.replace(Some(start(node, path.to_string(), token, line.setter())));
            }
            move || {
                slot.take();
            }
        });
    }
    {
        let slot = session.clone();
        use_effect_with(props.shown, move |shown| {
            if let (true, Some(session)) = (*shown, &*slot.borrow())
                && let Some(handle) = &*session.handle.borrow()
            {
                focus(handle);
            }
        });
    }
    let reconnect = {
        let attempt = attempt.clone();
        Callback::from(move |()| attempt.set(*attempt + 1))
    };
    let (words, ended) = match &*line {
        Line::Opening => ("Connecting…".to_owned(), false),
        Line::Open => ("Connected".to_owned(), false),
        Line::Ended(why) => (why.clone(), true),
    };
    html! {
        <div class="term" hidden={!props.shown}>
            <div class="term-screen" ref={node} role="group" aria-label={props.label.clone()}
                data-testid={props.shown.then_some("terminal")}></div>
            <div class="term-foot">
                <span class={classes!("muted", ended.then_some("bad-text"))} role="status" data-testid={props.shown.then_some("terminal-state")}>
                    { words }
                </span>
                <span class="muted wide-only">{ "Copy " }<kbd>{ "Ctrl Shift C" }</kbd>{ " Leave " }<kbd>{ "Ctrl Shift ↑" }</kbd></span>
                if ended { <Button label="Reconnect" icon={Glyph::Reboot} tone={Tone::Plain} onclick={reconnect} testid="terminal-reconnect" /> }
            </div>
        </div>
    }
}

fn start(node: HtmlElement, path: String, token: String, line: UseStateSetter<Line>) -> Rc<Session> {
    let session = Rc::new(Session {
        socket: RefCell::default(),
        handle: RefCell::default(),
        size: Cell::new(None),
        closures: RefCell::default(),
    });
    let weak = Rc::downgrade(&session);
    let data = Closure::new({
        let weak = weak.clone();
        move |text: String| {
            if let Some(session) = weak.upgrade()
                && let Some(socket) = &*session.socket.borrow()
            {
                socket.send_bytes(text.as_bytes());
            }
        }
    });
    let resize = Closure::new({
        let weak = weak.clone();
        move |cols: u16, rows: u16| {
            if let Some(session) = weak.upgrade() {
                session.size.set(Some(Resize { cols, rows }));
                session.send_size();
            }
        }
    });
    spawn_local(async move {
        let opened = open(&node, &data, &resize).await;
        // Closed while xterm.js was loading: nobody will dispose of it but we.
        let Some(session) = weak.upgrade() else {
            if let Ok(handle) = opened {
                dispose(&handle);
            }
            return;
        };
        let Ok(handle) = opened else {
            line.set(Line::Ended("The terminal was not loaded".to_owned()));
            return;
        };
        focus(&handle);
        session.handle.replace(Some(handle));
        session.closures.replace(Some((data, resize)));
        let heard = Callback::from({
            let line = line.clone();
            move |heard| {
                if let Some(session) = weak.upgrade() {
                    hear(&session, heard, &line);
                }
            }
        });
        match Socket::open(&path, &token, heard) {
            Some(socket) => {
                session.socket.replace(Some(socket));
            }
            None => line.set(Line::Ended("The browser refused the connection".to_owned())),
        }
    });
    session
}

fn hear(session: &Rc<Session>, heard: Heard, line: &UseStateSetter<Line>) {
    match heard {
        Heard::Open => {
            line.set(Line::Open);
            session.send_size();
        }
        Heard::Bytes(bytes) => {
            if let Some(handle) = &*session.handle.borrow() {
                write(handle, &bytes);
            }
        }
        Heard::Text(text) => {
            let exit = serde_json::from_str::<TerminalControl>(&text).ok().and_then(|control| control.exit);
            if let Some(exit) = exit {
                let words = match (exit.code, exit.signal) {
                    (Some(code), _) => format!("The program ended with exit code {code}"),
                    (None, Some(signal)) => format!("The program was ended by signal {signal}"),
                    (None, None) => "The program ended".to_owned(),
                };
                session.say(&words);
                line.set(Line::Ended(words));
                session.socket.take();
            }
        }
        Heard::Closed(reason) => {
            let words = if reason.is_empty() { "Connection closed".to_owned() } else { model::format::sentence(&reason) };
            session.say(&words);
            line.set(Line::Ended(words));
        }
    }
}
