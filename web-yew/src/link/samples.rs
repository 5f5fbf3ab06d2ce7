//! The samples of the last five minutes of a machine or a host, one a second while someone looks.

use super::stream::{StreamState, use_stream};
use model::series::{Sample, Window};
use serde::de::DeserializeOwned;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Clone, PartialEq)]
struct Samples<S>(Window<S>)
where
    S: Clone + PartialEq;

enum SamplesMsg<S> {
    Push(Vec<S>),
    /// Another machine is looked at.
    Clear,
}

impl<S: Sample + PartialEq> Reducible for Samples<S> {
    type Action = SamplesMsg<S>;
    fn reduce(self: Rc<Self>, msg: SamplesMsg<S>) -> Rc<Self> {
        let mut next = (*self).clone();
        match msg {
            SamplesMsg::Push(samples) => samples.into_iter().for_each(|sample| next.0.push(sample)),
            SamplesMsg::Clear => next.0 = Window::default(),
        }
        Rc::new(next)
    }
}

#[hook]
pub fn use_samples<S>(path: Option<String>) -> (Window<S>, StreamState)
where
    S: Sample + PartialEq + DeserializeOwned + 'static,
{
    let samples = use_reducer(|| Samples::<S>(Window::default()));
    {
        let dispatcher = samples.dispatcher();
        use_effect_with(path.clone(), move |_| dispatcher.dispatch(SamplesMsg::Clear));
    }
    let dispatcher = samples.dispatcher();
    let texts = Callback::from(move |texts: Vec<String>| {
        let read = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        dispatcher.dispatch(SamplesMsg::Push(read));
    });
    let state = use_stream(path, Callback::noop(), texts);
    (samples.0.clone(), state)
}
