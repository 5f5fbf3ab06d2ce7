//! What every page is given: the store, the live view, and the ways to do something and be told how it went.

use crate::link::http::{Accepted, decode};
use crate::link::live::{Console, Live};
use crate::ui::toast::{Toast, ToastMsg, Toasts};
use api::problem::Problem;
use api::v1::{StopRequest, Vm};
use model::encode::segment;
use model::resource::Kind;
use model::store::{Msg, Store};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

#[derive(Clone)]
pub struct Hearth {
    pub store: UseReducerHandle<Console>,
    pub live: Live,
    pub toasts: UseReducerDispatcher<Toasts>,
    pub follows: Rc<RefCell<Vec<Follow>>>,
    pub sign_out: Callback<()>,
}

impl PartialEq for Hearth {
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store && self.live == other.live
    }
}

/// An operation whose end is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    pub operation: String,
    pub done: String,
    pub failed: String,
}

/// In words: what is said when it is done, and when it is not.
#[derive(Debug, Clone)]
pub struct Telling {
    pub done: String,
    pub failed: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmAction {
    Start,
    Stop,
    ForceStop,
    Pause,
    Resume,
    Reboot,
    ForceReboot,
}

impl VmAction {
    /// The API's word, in `status.actions` and in the path.
    pub fn word(self) -> &'static str {
        match self {
            VmAction::Start => "start",
            VmAction::Stop | VmAction::ForceStop => "stop",
            VmAction::Pause => "pause",
            VmAction::Resume => "resume",
            VmAction::Reboot | VmAction::ForceReboot => "reboot",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            VmAction::Start => "Start",
            VmAction::Stop => "Stop",
            VmAction::ForceStop => "Force stop",
            VmAction::Pause => "Pause",
            VmAction::Resume => "Resume",
            VmAction::Reboot => "Reboot",
            VmAction::ForceReboot => "Force reboot",
        }
    }

    fn telling(self, name: &str) -> Telling {
        let (done, verb) = match self {
            VmAction::Start => ("runs", "start"),
            VmAction::Stop | VmAction::ForceStop => ("is stopped", "stop"),
            VmAction::Pause => ("is paused", "pause"),
            VmAction::Resume => ("runs again", "resume"),
            VmAction::Reboot | VmAction::ForceReboot => ("has rebooted", "reboot"),
        };
        Telling { done: format!("{name} {done}"), failed: format!("{name} did not {verb}") }
    }
}

#[hook]
pub fn use_hearth() -> Hearth {
    use_context::<Hearth>().expect("every page is drawn inside the provider in app.rs")
}

/// The tab's title while the component is shown.
#[hook]
pub fn use_title(title: &str) {
    use_effect_with(title.to_owned(), |title| {
        if let Some(document) = web_sys::window().and_then(|window| window.document()) {
            document.set_title(&format!("{title} · hearth"));
        }
    });
}

impl Hearth {
    pub fn store(&self) -> &Store {
        &self.store.0
    }

    pub fn say(&self, title: &str) {
        self.toasts.dispatch(ToastMsg::Push(Toast { title: title.to_owned(), problem: None }));
    }

    pub fn complain(&self, title: &str, problem: Problem) {
        self.toasts.dispatch(ToastMsg::Push(Toast { title: title.to_owned(), problem: Some(problem) }));
    }

    /// Does `work`, then tells its end: at once when it was done at once, else when its operation ends. `ended` gets the answer.
    pub fn run<F>(&self, work: F, telling: Telling, ended: Callback<Result<Accepted, Problem>>)
    where
        F: Future<Output = Result<Accepted, Problem>> + 'static,
    {
        let hearth = self.clone();
        spawn_local(async move {
            let answer = work.await;
            if let Ok(accepted) = &answer {
                match &accepted.operation {
                    None => hearth.say(&telling.done),
                    Some(operation) => {
                        let follow = Follow { operation: operation.clone(), done: telling.done, failed: telling.failed };
                        hearth.follows.borrow_mut().push(follow);
                        hearth.live.fetch(Kind::Operation, operation);
                    }
                }
            }
            ended.emit(answer);
        });
    }

    /// Like [`Hearth::run`], with a toast for a refusal: for what has no form to show it in.
    pub fn act(&self, vm: &Vm, action: VmAction, ended: Callback<()>) {
        let path = format!("/v1/vms/{}/{}", segment(&vm.id), action.word());
        let force = matches!(action, VmAction::ForceStop | VmAction::ForceReboot);
        let takes_body = matches!(action.word(), "stop" | "reboot");
        let (api, telling, hearth) = (self.live.api().clone(), action.telling(&vm.name), self.clone());
        let failed = telling.failed.clone();
        let work = async move {
            if takes_body {
                return api.post(&path, &StopRequest { force, deadline_s: None }).await;
            }
            api.post(&path, &serde_json::Map::new()).await
        };
        let told = Callback::from(move |answer: Result<Accepted, Problem>| {
            match answer {
                Ok(accepted) => {
                    hearth.apply_vm(&accepted);
                }
                Err(problem) => hearth.complain(&failed, problem),
            }
            ended.emit(());
        });
        self.run(work, telling, told);
    }

    /// The VM as the answer shows it: the page need not wait for the event. What is told once stays with the caller.
    pub fn apply_vm(&self, accepted: &Accepted) -> Option<Vm> {
        let vm: Vm = decode(&accepted.body).ok()?;
        self.live.apply(Msg::Vm(Box::new(Vm { credentials: None, ..vm.clone() })));
        Some(vm)
    }
}
