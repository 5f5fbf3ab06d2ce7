//! The web console and the API's browser: static files out of the binary. Owns types, encodings, caching and the fallback to the console's
//! start page, whose routes are paths of its own.

use super::{edge::Edge, problem::Refusal};
use crate::embed::{self, File};
use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use std::sync::{Arc, LazyLock};
use utoipa_swagger_ui::Config;

/// A hashed name never changes its content.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// Ask whether it changed; the ETag makes that cheap.
const ASK: &str = "no-cache";
const ABSENT: &str = include_str!("console/absent.html");
const SWAGGER_START: &str = include_str!("console/swagger-initializer.js");

pub fn swagger_routes() -> Router<Edge> {
    Router::new()
        .route("/swagger-ui", get(|| async { Redirect::permanent("/swagger-ui/") }))
        .route("/swagger-ui/", get(|| swagger(Path(String::new()))))
        .route("/swagger-ui/{*file}", get(swagger))
}

async fn swagger(Path(file): Path<String>) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    // Ours asks for the token, without which the document itself is not given out.
    if file == "swagger-initializer.js" {
        return ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, ASK)], SWAGGER_START)
            .into_response();
    }
    match utoipa_swagger_ui::serve(&file, CONFIG.clone()) {
        Ok(Some(found)) => {
            let cache = (header::CACHE_CONTROL, ASK.to_owned());
            ([(header::CONTENT_TYPE, found.content_type), cache], found.bytes.into_owned()).into_response()
        }
        Ok(None) => {
            Refusal::new(StatusCode::NOT_FOUND, "unknown-path", format!("there is no /swagger-ui/{file}")).into_response()
        }
        Err(error) => Refusal::internal(format!("the API's browser can't be served: {error}")).into_response(),
    }
}

/// Everything outside the API: a file of the console, or its start page.
pub fn page(method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let mut response =
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", format!("{path} has no {method}")).into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = embed::console(if name.is_empty() { embed::INDEX } else { name }) {
        return serve(file, headers);
    }
    // A file that is missing is missing; a page of the console has no extension.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return Refusal::new(StatusCode::NOT_FOUND, "unknown-path", format!("there is no {path}")).into_response();
    }
    match embed::console(embed::INDEX) {
        Some(index) => serve(index, headers),
        None => (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], ABSENT).into_response(),
    }
}

fn serve(file: &'static File, headers: &HeaderMap) -> Response {
    let cache = if file.name == embed::INDEX {
        "no-store"
    } else if file.is_hashed() {
        FOREVER
    } else {
        ASK
    };
    let mut response = if super::input::same_tag(headers, file.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let (encoding, bytes) = choose(file, headers);
        let mut response = ([(header::CONTENT_TYPE, file.content_type())], bytes).into_response();
        if let Some(encoding) = encoding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", file.etag)) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The smallest that the client takes.
fn choose(file: &'static File, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let takes = |encoding: &str| {
        headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|word| {
                let (name, weight) = word.trim().split_once(';').unwrap_or((word.trim(), ""));
                let refused = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok()) == Some(0.0);
                name.eq_ignore_ascii_case(encoding) && !refused
            })
    };
    match (file.brotli, file.gzip) {
        (Some(bytes), _) if takes("br") => (Some("br"), bytes),
        (_, Some(bytes)) if takes("gzip") => (Some("gzip"), bytes),
        _ => (None, file.plain),
    }
}
