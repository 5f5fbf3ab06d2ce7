//! Lists, page by page, and single resources, as messages for the store.

use super::http::Api;
use api::problem::Problem;
use api::v1::List;
use model::encode::segment;
use model::resource::Kind;
use model::store::{How, Msg, Page};
use serde::de::DeserializeOwned;

const ROWS_A_PAGE: usize = 200;
/// Loaded without asking; beyond it there is a button.
const ROWS_AT_ONCE: usize = 1_000;

/// From `cursor` on, or from the start: as many pages as make [`ROWS_AT_ONCE`] rows.
pub async fn list(api: &Api, kind: Kind, cursor: Option<String>) -> Msg {
    let loaded = match kind {
        Kind::Vm => pages(api, kind, cursor).await.map(Msg::Vms),
        Kind::Image => pages(api, kind, cursor).await.map(Msg::Images),
        Kind::Host => pages(api, kind, cursor).await.map(Msg::Hosts),
        Kind::Operation => pages(api, kind, cursor).await.map(Msg::Operations),
        Kind::Webhook => pages(api, kind, cursor).await.map(Msg::Webhooks),
    };
    loaded.unwrap_or_else(|problem| Msg::ListFailed(kind, problem))
}

async fn pages<T: DeserializeOwned>(api: &Api, kind: Kind, mut cursor: Option<String>) -> Result<Page<T>, Problem> {
    let how = if cursor.is_some() { How::Append } else { How::Replace };
    let mut rows: Vec<T> = vec![];
    loop {
        let at = cursor.as_deref().map(|cursor| format!("&cursor={}", segment(cursor))).unwrap_or_default();
        let page: List<T> = api.get(&format!("/v1/{}?limit={ROWS_A_PAGE}{at}", kind.plural())).await?;
        rows.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() || rows.len() >= ROWS_AT_ONCE {
            return Ok(Page { rows, more: cursor, how });
        }
    }
}

pub async fn one(api: &Api, kind: Kind, id: &str) -> Result<Msg, Problem> {
    let path = format!("/v1/{}/{}", kind.plural(), segment(id));
    let fetched = match kind {
        Kind::Vm => api.get(&path).await.map(|vm| Msg::Vm(Box::new(vm))),
        Kind::Image => api.get(&path).await.map(|image| Msg::Image(Box::new(image))),
        Kind::Host => api.get(&path).await.map(|host| Msg::Host(Box::new(host))),
        Kind::Operation => api.get(&path).await.map(|operation| Msg::Operation(Box::new(operation))),
        Kind::Webhook => api.get(&path).await.map(|webhook| Msg::Webhook(Box::new(webhook))),
    };
    match fetched {
        Err(problem) if problem.status == 404 => Ok(Msg::Gone(kind, id.to_owned())),
        other => other,
    }
}
