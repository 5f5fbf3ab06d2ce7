//! The calls about images.

use super::error::ClientError;
use super::http::{Client, json};
use super::page::{ListQuery, Pages};
use super::wait::{Accepted, Options};
use crate::v1::{CreateImage, Image, PatchImage};
use reqwest::Method;

pub struct Images<'a>(&'a Client);

impl Client {
    pub fn images(&self) -> Images<'_> {
        Images(self)
    }
}

impl Images<'_> {
    pub fn list(&self, query: ListQuery) -> Pages<Image> {
        Pages::new(self.0, "images", query)
    }

    /// By id or name.
    pub async fn get(&self, id: &str) -> Result<Image, ClientError> {
        self.0.get(self.0.url(&["v1", "images", id])?).await
    }

    pub async fn create(&self, create: &CreateImage, options: &Options) -> Result<Accepted<Image>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "images"])?, json(create), options).await
    }

    pub async fn patch(&self, id: &str, patch: &PatchImage, options: &Options) -> Result<Accepted<Image>, ClientError> {
        self.0.change(Method::PATCH, self.0.url(&["v1", "images", id])?, json(patch), options).await
    }

    pub async fn delete(&self, id: &str, options: &Options) -> Result<Accepted<Image>, ClientError> {
        self.0.change(Method::DELETE, self.0.url(&["v1", "images", id])?, None, options).await
    }
}
