//! A text that grows while it is read: a log, followed.

use super::http::Api;
use api::problem::Problem;
use model::encode::Utf8;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, ReadableStreamDefaultReader};
use yew::Callback;

pub enum Piece {
    /// UTF-8 with replacements: a log may hold anything.
    Text(String),
    /// The server ended it.
    End,
    Failed(Problem),
}

/// Dropping it ends the request.
pub struct Reading {
    abort: AbortController,
}

impl Reading {
    pub fn start(api: &Api, path: String, piece: Callback<Piece>) -> Option<Reading> {
        let abort = AbortController::new().ok()?;
        let (api, signal) = (api.clone(), abort.signal());
        spawn_local(async move {
            let response = match api.open(&path, &signal).await {
                Ok(response) => response,
                Err(_) if signal.aborted() => return,
                Err(problem) => return piece.emit(Piece::Failed(problem)),
            };
            let Some(body) = response.body() else { return piece.emit(Piece::End) };
            let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
            let mut text = Utf8::default();
            while let Some(bytes) = next(&reader).await {
                piece.emit(Piece::Text(text.push(&bytes)));
            }
            if !signal.aborted() {
                piece.emit(Piece::End);
            }
        });
        Some(Reading { abort })
    }
}

async fn next(reader: &ReadableStreamDefaultReader) -> Option<Vec<u8>> {
    let chunk = JsFuture::from(reader.read()).await.ok()?;
    let value = js_sys::Reflect::get(&chunk, &JsValue::from_str("value")).ok()?;
    (!value.is_undefined()).then(|| js_sys::Uint8Array::new(&value).to_vec())
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
