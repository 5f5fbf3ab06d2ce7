//! Requests to the REST API. Every failure becomes the API's own `Problem`, so that one place shows them all.

use api::problem::Problem;
use gloo::net::http::{Method, RequestBuilder, Response};
use gloo::timers::callback::Timeout;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::rc::Rc;
use yew::Callback;

/// The server answers what takes longer with 202 at once; a request whose whole answer is not there by then is lost.
const DEADLINE_MS: u32 = 30_000;

#[derive(Clone)]
pub struct Api {
    token: Rc<str>,
    unauthorised: Callback<()>,
}

impl PartialEq for Api {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

/// The answer to something that changes: its body, and the operation that carries it out.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub body: String,
    pub operation: Option<String>,
}

/// Whose body may be still to come: within the deadline, which ends with this.
struct Answer {
    response: Response,
    _deadline: Timeout,
}

impl Api {
    /// `unauthorised` is told when the server no longer takes the token.
    pub fn new(token: &str, unauthorised: Callback<()>) -> Self {
        Api { token: token.into(), unauthorised }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let answer = self.send(RequestBuilder::new(path).method(Method::GET), None).await?;
        decode(&text(&answer.response).await?)
    }

    /// Like [`Api::get`], but hands back the response for reading piece by piece. No deadline: a followed log is endless.
    pub async fn open(&self, path: &str, abort: &web_sys::AbortSignal) -> Result<Response, Problem> {
        let request = self.signed(RequestBuilder::new(path)).abort_signal(Some(abort));
        let response = request.send().await.map_err(|_| unreachable_server())?;
        self.checked(response).await
    }

    pub async fn post<B: Serialize>(&self, path: &str, body: &B) -> Result<Accepted, Problem> {
        // One key a click: a request that the browser or a proxy sends twice is carried out once.
        let request = RequestBuilder::new(path).method(Method::POST).header("Idempotency-Key", &random_uuid());
        self.change(request, Some(body)).await
    }

    pub async fn patch<B: Serialize>(&self, path: &str, generation: u64, body: &B) -> Result<Accepted, Problem> {
        let request = RequestBuilder::new(path).method(Method::PATCH).header("If-Match", &format!("\"{generation}\""));
        self.change(request, Some(body)).await
    }

    pub async fn delete(&self, path: &str, generation: u64) -> Result<Accepted, Problem> {
        let request = RequestBuilder::new(path).method(Method::DELETE).header("If-Match", &format!("\"{generation}\""));
        self.change::<()>(request, None).await
    }

    async fn change<B: Serialize>(&self, request: RequestBuilder, body: Option<&B>) -> Result<Accepted, Problem> {
        let body = body.map(serde_json::to_string).transpose().map_err(|error| garbled(&error.to_string()))?;
        let answer = self.send(request, body).await?;
        let location = answer.response.headers().get("location");
        let operation = location.and_then(|path| path.rsplit_once('/').map(|(_, id)| id.to_owned()));
        Ok(Accepted { body: text(&answer.response).await?, operation })
    }

    async fn send(&self, request: RequestBuilder, body: Option<String>) -> Result<Answer, Problem> {
        let abort = web_sys::AbortController::new().map_err(|_| unreachable_server())?;
        let signal = abort.signal();
        let request = self.signed(request).abort_signal(Some(&signal));
        let request = match body {
            Some(body) => request.header("Content-Type", "application/json").body(body),
            None => request.build(),
        };
        let request = request.map_err(|error| garbled(&error.to_string()))?;
        let deadline = Timeout::new(DEADLINE_MS, move || abort.abort());
        let response = request.send().await.map_err(|_| unreachable_server())?;
        Ok(Answer { response: self.checked(response).await?, _deadline: deadline })
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("Authorization", &format!("Bearer {}", self.token)).header("Accept", "application/json, text/plain")
    }

    async fn checked(&self, response: Response) -> Result<Response, Problem> {
        if response.ok() {
            return Ok(response);
        }
        if response.status() == 401 {
            self.unauthorised.emit(());
        }
        let body = response.text().await.unwrap_or_default();
        Err(serde_json::from_str(&body).unwrap_or_else(|_| bare(response.status(), &response.status_text())))
    }
}

async fn text(response: &Response) -> Result<String, Problem> {
    response.text().await.map_err(|_| unreachable_server())
}

pub fn decode<T: DeserializeOwned>(body: &str) -> Result<T, Problem> {
    serde_json::from_str(body).map_err(|error| garbled(&error.to_string()))
}

fn unreachable_server() -> Problem {
    Problem {
        title: "No answer".into(),
        code: "unreachable".into(),
        detail: "hearth does not answer".into(),
        hint: "is the server running, and is there a network? The console tries again by itself".into(),
        ..Problem::default()
    }
}

fn garbled(detail: &str) -> Problem {
    Problem {
        title: "Not understood".into(),
        code: "garbled".into(),
        detail: format!("the answer was not understood: {detail}"),
        hint: "reload the page: the server may have been upgraded meanwhile".into(),
        ..Problem::default()
    }
}

/// An error that is not ours: a proxy in between, most likely.
fn bare(status: u16, words: &str) -> Problem {
    Problem {
        status,
        title: words.into(),
        code: "http".into(),
        detail: format!("the answer was {status} {words}"),
        ..Problem::default()
    }
}

/// `crypto.randomUUID` exists only on https and localhost; random bytes are to be had everywhere.
fn random_uuid() -> String {
    let mut bytes = [0u8; 16];
    let crypto = web_sys::window().and_then(|window| window.crypto().ok());
    let filled = crypto.is_some_and(|crypto| crypto.get_random_values_with_u8_array(&mut bytes).is_ok());
    if !filled {
        bytes.fill_with(|| (js_sys::Math::random() * 256.0) as u8);
    }
    model::encode::uuid(bytes)
}
