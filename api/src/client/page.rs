//! Lists: their filters, and reading them page by page.

use super::error::ClientError;
use super::http::Client;
use crate::v1::List;
use reqwest::Url;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::marker::PhantomData;

/// What a list may be narrowed to. An empty query lists everything, in pages of the server's size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Items in one page.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
    /// `k=v`; all must fit.
    pub labels: Vec<String>,
    pub state: Option<String>,
    pub name: Option<String>,
    pub project: Option<String>,
}

impl ListQuery {
    pub(super) fn apply(&self, url: &mut Url) {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        if let Some(limit) = self.limit {
            pairs.push(("limit", limit.to_string()));
        }
        pairs.extend(self.labels.iter().map(|label| ("label", label.clone())));
        let rest = [("cursor", &self.cursor), ("state", &self.state), ("name", &self.name), ("project", &self.project)];
        pairs.extend(rest.into_iter().filter_map(|(key, value)| value.clone().map(|value| (key, value))));
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
    }
}

/// The items of a list, one after the other; the next page is asked for when the one before is used up.
pub struct Pages<T> {
    client: Client,
    path: &'static str,
    query: ListQuery,
    ready: VecDeque<T>,
    ended: bool,
    item: PhantomData<T>,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(super) fn new(client: &Client, path: &'static str, query: ListQuery) -> Pages<T> {
        Pages { client: client.clone(), path, query, ready: VecDeque::new(), ended: false, item: PhantomData }
    }

    /// One page as the server gives it.
    pub async fn page(&mut self) -> Result<List<T>, ClientError> {
        let mut url = self.client.url(&["v1", self.path])?;
        self.query.apply(&mut url);
        let list: List<T> = self.client.get(url).await?;
        match &list.next_cursor {
            // The same cursor again would go round for ever.
            Some(cursor) if self.query.cursor.as_ref() == Some(cursor) => {
                let detail = "the list does not advance: the same cursor twice".to_owned();
                return Err(ClientError::Protocol { url: self.client.base_url().to_owned(), detail });
            }
            Some(cursor) => self.query.cursor = Some(cursor.clone()),
            None => self.ended = true,
        }
        Ok(list)
    }

    /// The next item, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        while self.ready.is_empty() && !self.ended {
            self.ready = self.page().await?.items.into();
        }
        Ok(self.ready.pop_front())
    }

    /// At most `most` items, and whether there are more.
    pub async fn collect(mut self, most: usize) -> Result<(Vec<T>, bool), ClientError> {
        let mut items = Vec::new();
        while items.len() < most {
            match self.next().await? {
                Some(item) => items.push(item),
                None => return Ok((items, false)),
            }
        }
        let more = !self.ready.is_empty() || !self.ended;
        Ok((items, more))
    }
}
