//! A WebSocket to the server. Dropping it closes it, and nothing is heard of it afterwards.

use model::encode::base64url;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};
use yew::Callback;

/// The protocol that the server answers with.
const PROTOCOL: &str = "hearth.v1";
/// "Going away": what a closed page would say.
const NORMAL_CLOSURE: u16 = 1000;

pub enum Heard {
    Open,
    Text(String),
    Bytes(Vec<u8>),
    /// With the server's reason, which may be empty.
    Closed(String),
}

pub struct Socket {
    inner: WebSocket,
    _open: Closure<dyn Fn(Event)>,
    _message: Closure<dyn Fn(MessageEvent)>,
    _close: Closure<dyn Fn(CloseEvent)>,
}

impl Socket {
    /// A browser cannot give a WebSocket headers, so the token travels as a subprotocol, which is not written to access logs as an
    /// address would be. None: the browser refused to try at all.
    pub fn open(path: &str, token: &str, heard: Callback<Heard>) -> Option<Socket> {
        let location = web_sys::window()?.location();
        let scheme = if location.protocol().ok()? == "https:" { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{path}", location.host().ok()?);
        let protocols = js_sys::Array::of2(&PROTOCOL.into(), &format!("bearer.{}", base64url(token.as_bytes())).into());
        let inner = WebSocket::new_with_str_sequence(&url, &protocols).ok()?;
        inner.set_binary_type(BinaryType::Arraybuffer);
        let open = {
            let heard = heard.clone();
            Closure::new(move |_: Event| heard.emit(Heard::Open))
        };
        let message = {
            let heard = heard.clone();
            Closure::new(move |event: MessageEvent| {
                let data = event.data();
                match data.as_string() {
                    Some(text) => heard.emit(Heard::Text(text)),
                    None => heard.emit(Heard::Bytes(js_sys::Uint8Array::new(&data).to_vec())),
                }
            })
        };
        let close = Closure::new(move |event: CloseEvent| heard.emit(Heard::Closed(event.reason())));
        inner.set_onopen(Some(open.as_ref().unchecked_ref()));
        inner.set_onmessage(Some(message.as_ref().unchecked_ref()));
        inner.set_onclose(Some(close.as_ref().unchecked_ref()));
        Some(Socket { inner, _open: open, _message: message, _close: close })
    }

    /// False: it is not open, nothing was sent.
    pub fn send_text(&self, text: &str) -> bool {
        self.inner.ready_state() == WebSocket::OPEN && self.inner.send_with_str(text).is_ok()
    }

    pub fn send_bytes(&self, bytes: &[u8]) -> bool {
        self.inner.ready_state() == WebSocket::OPEN && self.inner.send_with_u8_array(bytes).is_ok()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.inner.set_onopen(None);
        self.inner.set_onmessage(None);
        self.inner.set_onclose(None);
        self.inner.close_with_code(NORMAL_CLOSURE).ok();
    }
}
