//! Keeps the store in step with the server: one event stream, resumed by number, and the requests that its events ask for.
//!
//! The stream is opened first and the lists are loaded when it is open, so no change falls between the two. A lost stream is taken up
//! again after the last number; everything is listed again when the server says `resync`, when a fetch failed, or after a long loss.

use super::http::Api;
use super::lists;
use super::socket::{Heard, Socket};
use api::v1::Event;
use gloo::timers::callback::{Interval, Timeout};
use model::backoff;
use model::refetch::{Key, Next, Refetch};
use model::resource::{Kind, Meaning, meaning};
use model::store::{Connection, Msg, Store};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

/// Events that arrive within this time are applied together: one drawing for a burst.
const BATCH_MS: u32 = 40;
/// A stream that was silent for this long is checked: a dead peer does not close it.
const SILENCE_MS: f64 = 20_000.0;
const CHECK_EVERY_MS: u32 = 5_000;
/// After so many failed attempts the server was away long enough to have been restored from a backup: list again.
const LONG_LOSS_ATTEMPTS: u32 = 4;
/// What a host gives to VMs changes with them, and no event of the host says so: hosts are listed so long after a VM's event, once for all
/// events within that time.
const HOSTS_AFTER_MS: u32 = 400;
/// When a single fetch failed while the stream is up.
const RELIST_AFTER_MS: u32 = 2_000;

#[derive(Clone, PartialEq, Default)]
pub struct Console(pub Store);

impl Reducible for Console {
    type Action = Vec<Msg>;
    fn reduce(self: Rc<Self>, msgs: Vec<Msg>) -> Rc<Self> {
        let mut next = (*self).clone();
        msgs.into_iter().for_each(|msg| next.0.reduce(msg));
        Rc::new(next)
    }
}

#[derive(Clone)]
pub struct Live(Rc<Inner>);

impl PartialEq for Live {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

struct Inner {
    api: Api,
    store: UseReducerDispatcher<Console>,
    socket: RefCell<Option<Socket>>,
    cursor: Cell<Option<u64>>,
    attempt: Cell<u32>,
    /// What is shown may be out of date: list when the stream is open.
    stale: Cell<bool>,
    heard_at: Cell<f64>,
    refetch: RefCell<Refetch>,
    /// Lists under way; true: list once more afterwards.
    listing: RefCell<BTreeMap<Kind, bool>>,
    batch: RefCell<Vec<Msg>>,
    flush: RefCell<Option<Timeout>>,
    retry: RefCell<Option<Timeout>>,
    relist: RefCell<Option<Timeout>>,
    hosts: RefCell<Option<Timeout>>,
    check: RefCell<Option<Interval>>,
}

impl Live {
    pub fn start(api: Api, store: UseReducerDispatcher<Console>) -> Live {
        let inner = Rc::new(Inner {
            api,
            store,
            socket: RefCell::default(),
            cursor: Cell::new(None),
            attempt: Cell::new(0),
            stale: Cell::new(true),
            heard_at: Cell::new(js_sys::Date::now()),
            refetch: RefCell::default(),
            listing: RefCell::default(),
            batch: RefCell::default(),
            flush: RefCell::default(),
            retry: RefCell::default(),
            relist: RefCell::default(),
            hosts: RefCell::default(),
            check: RefCell::default(),
        });
        inner.connect();
        let weak = Rc::downgrade(&inner);
        let check = Interval::new(CHECK_EVERY_MS, move || with(&weak, Inner::check_silence));
        inner.check.replace(Some(check));
        Live(inner)
    }

    pub fn api(&self) -> &Api {
        &self.0.api
    }

    /// Apply what an answer brought, without waiting for its event.
    pub fn apply(&self, msg: Msg) {
        self.0.push(msg);
    }

    pub fn relist(&self, kind: Kind) {
        self.0.list(kind, None);
    }

    pub fn more(&self, kind: Kind, cursor: String) {
        self.0.list(kind, Some(cursor));
    }

    pub fn fetch(&self, kind: Kind, id: &str) {
        self.0.want((kind, id.to_owned()));
    }

    /// The network came back, or someone looks at the page again: do not wait for the back-off.
    pub fn hurry(&self) {
        if self.0.attempt.get() > 0 && self.0.retry.borrow_mut().take().is_some() {
            self.0.probe();
        }
    }

    /// Ends everything. Answers that are still under way find nobody.
    pub fn stop(&self) {
        self.0.check.take();
        self.0.retry.take();
        self.0.relist.take();
        self.0.hosts.take();
        self.0.flush.take();
        self.0.socket.take();
    }
}

fn with(weak: &Weak<Inner>, act: impl FnOnce(&Rc<Inner>)) {
    if let Some(inner) = weak.upgrade() {
        act(&inner);
    }
}

impl Inner {
    fn connect(self: &Rc<Self>) {
        let after = self.cursor.get().map(|cursor| format!("?after={cursor}")).unwrap_or_default();
        let weak = Rc::downgrade(self);
        let heard = Callback::from(move |heard| with(&weak, |inner| inner.heard(heard)));
        let socket = Socket::open(&format!("/v1/events{after}"), self.api.token(), heard);
        let refused = socket.is_none();
        self.socket.replace(socket);
        if refused {
            self.lost();
        }
    }

    fn heard(self: &Rc<Self>, heard: Heard) {
        self.heard_at.set(js_sys::Date::now());
        match heard {
            Heard::Open => {
                let long = self.attempt.replace(0) >= LONG_LOSS_ATTEMPTS;
                self.push(Msg::Connection(Connection::Live));
                if self.stale.replace(false) || long || self.cursor.get().is_none() {
                    self.list_all();
                }
            }
            Heard::Text(text) => {
                if let Ok(event) = serde_json::from_str::<Event>(&text) {
                    self.event(event);
                }
            }
            Heard::Bytes(_) => {}
            Heard::Closed(_) => self.lost(),
        }
    }

    fn event(self: &Rc<Self>, event: Event) {
        let means = meaning(&event);
        if means != Meaning::Resync && self.cursor.get().is_some_and(|newest| event.cursor <= newest) {
            return;
        }
        self.cursor.set(Some(event.cursor));
        if let Some(operation) = &event.operation {
            self.want((Kind::Operation, operation.clone()));
        }
        self.push(Msg::Event(Box::new(event)));
        if matches!(means, Meaning::Changed(Kind::Vm, _) | Meaning::Gone(Kind::Vm, _)) {
            self.list_hosts_soon();
        }
        match means {
            Meaning::Resync => self.list_all(),
            Meaning::Changed(kind, id) => self.want((kind, id)),
            Meaning::Gone(..) | Meaning::Nothing => {}
        }
    }

    fn lost(self: &Rc<Self>) {
        self.socket.take();
        // Never connected yet: show at least what plain requests bring.
        if self.attempt.get() == 0 && self.stale.get() {
            self.list_all();
        }
        let attempt = self.attempt.get() + 1;
        self.attempt.set(attempt);
        self.push(Msg::Connection(Connection::Lost { attempt }));
        let weak = Rc::downgrade(self);
        let wait = backoff::delay_ms(attempt, js_sys::Math::random());
        self.retry.replace(Some(Timeout::new(wait, move || {
            with(&weak, |inner| {
                inner.retry.take();
                inner.probe();
            });
        })));
    }

    /// A browser does not tell why a WebSocket failed; a plain request does (401 leads to the sign-in page).
    fn probe(self: &Rc<Self>) {
        let (weak, api) = (Rc::downgrade(self), self.api.clone());
        spawn_local(async move {
            let answer = api.get::<serde_json::Value>("/v1/hosts?limit=1").await;
            with(&weak, |inner| match answer {
                Ok(_) => inner.connect(),
                Err(problem) if problem.status == 401 => {}
                Err(_) => inner.lost(),
            });
        });
    }

    fn check_silence(self: &Rc<Self>) {
        if self.attempt.get() > 0 || js_sys::Date::now() - self.heard_at.get() < SILENCE_MS {
            return;
        }
        self.heard_at.set(js_sys::Date::now());
        let (weak, api) = (Rc::downgrade(self), self.api.clone());
        spawn_local(async move {
            if api.get::<serde_json::Value>("/v1/hosts?limit=1").await.is_err() {
                with(&weak, |inner| {
                    if inner.attempt.get() == 0 {
                        inner.lost()
                    }
                });
            }
        });
    }

    fn want(self: &Rc<Self>, key: Key) {
        let next = self.refetch.borrow_mut().want(key);
        match next {
            Next::Fetch(keys) => keys.into_iter().for_each(|key| self.fetch(key)),
            Next::Relist => self.list_all(),
        }
    }

    fn fetch(self: &Rc<Self>, key: Key) {
        let (weak, api) = (Rc::downgrade(self), self.api.clone());
        spawn_local(async move {
            let answer = lists::one(&api, key.0, &key.1).await;
            with(&weak, |inner| {
                match answer {
                    Ok(msg) => inner.push(msg),
                    Err(_) => inner.list_later(),
                }
                let next = inner.refetch.borrow_mut().done(&key);
                next.into_iter().for_each(|key| inner.fetch(key));
            });
        });
    }

    fn list_hosts_soon(self: &Rc<Self>) {
        if self.hosts.borrow().is_some() {
            return;
        }
        let weak = Rc::downgrade(self);
        self.hosts.replace(Some(Timeout::new(HOSTS_AFTER_MS, move || {
            with(&weak, |inner| {
                inner.hosts.take();
                inner.list(Kind::Host, None);
            });
        })));
    }

    fn list_later(self: &Rc<Self>) {
        self.stale.set(true);
        let weak = Rc::downgrade(self);
        self.relist.replace(Some(Timeout::new(RELIST_AFTER_MS, move || {
            with(&weak, |inner| {
                if inner.attempt.get() == 0 && inner.stale.replace(false) {
                    inner.list_all();
                }
            });
        })));
    }

    fn list_all(self: &Rc<Self>) {
        self.refetch.borrow_mut().forget_waiting();
        Kind::ALL.into_iter().for_each(|kind| self.list(kind, None));
    }

    fn list(self: &Rc<Self>, kind: Kind, cursor: Option<String>) {
        if let Some(again) = self.listing.borrow_mut().get_mut(&kind) {
            *again |= cursor.is_none();
            return;
        }
        self.listing.borrow_mut().insert(kind, false);
        self.push(Msg::ListStarted(kind));
        let (weak, api) = (Rc::downgrade(self), self.api.clone());
        spawn_local(async move {
            let msg = lists::list(&api, kind, cursor).await;
            with(&weak, |inner| {
                if matches!(msg, Msg::ListFailed(..)) {
                    inner.stale.set(true);
                }
                inner.push(msg);
                let again = inner.listing.borrow_mut().remove(&kind);
                if again == Some(true) {
                    inner.list(kind, None);
                }
            });
        });
    }

    fn push(self: &Rc<Self>, msg: Msg) {
        self.batch.borrow_mut().push(msg);
        if self.flush.borrow().is_some() {
            return;
        }
        let weak = Rc::downgrade(self);
        self.flush.replace(Some(Timeout::new(BATCH_MS, move || {
            with(&weak, |inner| {
                inner.flush.take();
                let batch = inner.batch.take();
                inner.store.dispatch(batch);
            });
        })));
    }
}
