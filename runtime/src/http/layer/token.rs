//! Who asks. A token in `Authorization`, or, of a browser's WebSocket, which can set no headers, in a subprotocol.

use crate::http::{edge::Edge, problem::Refusal};
use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The subprotocol that carries a token; it is never selected, so it is in no answer.
const BEARER: &str = "bearer.";

/// Who asks, as events and operations name him.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| Refusal::internal("a handler without sign-in asked who asks"))
    }
}

pub async fn token(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    match authenticate(&edge, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

pub fn authenticate(edge: &Edge, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let given = match headers.get(header::AUTHORIZATION) {
        Some(value) => Some(value.to_str().ok().and_then(bearer).unwrap_or_default()),
        None => subprotocol(headers),
    };
    let hint = "send Authorization: Bearer TOKEN; the token is in admin.token in the data directory";
    match given {
        Some(token) if edge.token.is(&token) => Ok(Caller { actor: "user:admin".to_owned() }),
        Some(_) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "bad-token", "this token is not valid here").hint(hint)),
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "token-missing", "this needs a token").hint(hint)),
    }
}

fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn subprotocol(headers: &HeaderMap) -> Option<String> {
    if !headers.contains_key(header::UPGRADE) {
        return None;
    }
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut words = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let encoded = words.find_map(|word| word.trim().strip_prefix(BEARER))?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default();
    Some(String::from_utf8(bytes).unwrap_or_default())
}
