//! A WebSocket that a page listens to while it is shown, taken up again with a back-off when it is lost.

use super::socket::{Heard, Socket};
use crate::hearth::use_hearth;
use gloo::timers::callback::Timeout;
use model::backoff;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use yew::prelude::*;

/// Texts that arrive within this time are handed over together.
const BATCH_MS: u32 = 60;

#[derive(Debug, Clone, PartialEq)]
pub enum StreamState {
    Connecting,
    Live,
    /// With the server's reason, if it gave one.
    Lost(String),
}

struct Stream {
    path: String,
    token: String,
    socket: RefCell<Option<Socket>>,
    retry: RefCell<Option<Timeout>>,
    flush: RefCell<Option<Timeout>>,
    batch: RefCell<Vec<String>>,
    attempt: Cell<u32>,
    state: UseStateSetter<StreamState>,
    texts: Callback<Vec<String>>,
}

/// `path` none: no stream, now. `texts` gets what arrives; `opened` is called before the first text of each connection.
#[hook]
pub fn use_stream(path: Option<String>, opened: Callback<()>, texts: Callback<Vec<String>>) -> StreamState {
    let hearth = use_hearth();
    let state = use_state(|| StreamState::Connecting);
    {
        let (token, setter) = (hearth.live.api().token().to_owned(), state.setter());
        use_effect_with(path, move |path| {
            let stream = path.clone().map(|path| {
                let stream = Rc::new(Stream {
                    path,
                    token,
                    socket: RefCell::default(),
                    retry: RefCell::default(),
                    flush: RefCell::default(),
                    batch: RefCell::default(),
                    attempt: Cell::new(0),
                    state: setter,
                    texts,
                });
                connect(&stream, opened);
                stream
            });
            move || {
                if let Some(stream) = stream {
                    stream.socket.take();
                    stream.retry.take();
                    stream.flush.take();
                }
            }
        });
    }
    (*state).clone()
}

fn connect(stream: &Rc<Stream>, opened: Callback<()>) {
    let weak = Rc::downgrade(stream);
    let heard = Callback::from(move |heard| {
        let Some(stream) = weak.upgrade() else { return };
        match heard {
            Heard::Open => {
                stream.attempt.set(0);
                stream.batch.take();
                opened.emit(());
                stream.state.set(StreamState::Live);
            }
            Heard::Text(text) => push(&stream, text),
            Heard::Bytes(_) => {}
            Heard::Closed(reason) => {
                stream.socket.take();
                stream.state.set(StreamState::Lost(reason));
                stream.attempt.set(stream.attempt.get() + 1);
                let wait = backoff::delay_ms(stream.attempt.get(), js_sys::Math::random());
                let (weak, opened) = (Rc::downgrade(&stream), opened.clone());
                stream.retry.replace(Some(Timeout::new(wait, move || {
                    if let Some(stream) = weak.upgrade() {
                        connect(&stream, opened);
                    }
                })));
            }
        }
    });
    let socket = Socket::open(&stream.path, &stream.token, heard);
    stream.socket.replace(socket);
}

fn push(stream: &Rc<Stream>, text: String) {
    stream.batch.borrow_mut().push(text);
    if stream.flush.borrow().is_some() {
        return;
    }
    let weak = Rc::downgrade(stream);
    stream.flush.replace(Some(Timeout::new(BATCH_MS, move || {
        if let Some(stream) = weak.upgrade() {
            stream.flush.take();
            let batch = stream.batch.take();
            stream.texts.emit(batch);
        }
    })));
}
