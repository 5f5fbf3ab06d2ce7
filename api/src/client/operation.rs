//! The calls about operations. Waiting for one is `Client::follow`.

use super::error::ClientError;
use super::http::{Client, Request, decode};
use super::page::{ListQuery, Pages};
use super::wait::Options;
use crate::v1::Operation;
use reqwest::Method;

pub struct Operations<'a>(&'a Client);

impl Client {
    pub fn operations(&self) -> Operations<'_> {
        Operations(self)
    }
}

impl Operations<'_> {
    pub fn list(&self, query: ListQuery) -> Pages<Operation> {
        Pages::new(self.0, "operations", query)
    }

    pub async fn get(&self, id: &str) -> Result<Operation, ClientError> {
        self.0.get(self.0.url(&["v1", "operations", id])?).await
    }

    /// Turns the operation back; refused when it is not cancellable. It ends as cancelled when what it did is undone.
    pub async fn cancel(&self, id: &str, options: &Options) -> Result<Operation, ClientError> {
        let url = self.0.url(&["v1", "operations", id, "cancel"])?;
        decode(self.0.send(Request::new(Method::POST, url, None, options)).await?).await
    }
}
