//! The calls about VMs that are one request each.

use super::error::ClientError;
use super::http::{Client, Request, decode, json};
use super::limits::REQUEST_TIMEOUT;
use super::page::{ListQuery, Pages};
use super::wait::{Accepted, Options};
use crate::v1::{CreateVm, ExecRequest, ExecResult, PatchVm, RebootRequest, StopRequest, Vm, VmMetrics, VmmMetrics};
use reqwest::Method;
use std::time::Duration;

/// How long a program may run when the request says nothing (the API's own default).
const EXEC_DEFAULT_S: u32 = 60;

pub struct Vms<'a>(pub(super) &'a Client);

impl Client {
    pub fn vms(&self) -> Vms<'_> {
        Vms(self)
    }
}

impl Vms<'_> {
    pub fn list(&self, query: ListQuery) -> Pages<Vm> {
        Pages::new(self.0, "vms", query)
    }

    /// By id or name.
    pub async fn get(&self, id: &str) -> Result<Vm, ClientError> {
        self.0.get(self.0.url(&["v1", "vms", id])?).await
    }

    pub async fn create(&self, create: &CreateVm, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "vms"])?, json(create), options).await
    }

    pub async fn patch(&self, id: &str, patch: &PatchVm, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.0.change(Method::PATCH, self.0.url(&["v1", "vms", id])?, json(patch), options).await
    }

    /// `force` ends it first if it runs.
    pub async fn delete(&self, id: &str, force: bool, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        let mut url = self.0.url(&["v1", "vms", id])?;
        if force {
            url.query_pairs_mut().append_pair("force", "true");
        }
        self.0.change(Method::DELETE, url, None, options).await
    }

    pub async fn start(&self, id: &str, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.action(id, "start", None, options).await
    }

    pub async fn stop(&self, id: &str, stop: &StopRequest, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.action(id, "stop", json(stop), options).await
    }

    pub async fn pause(&self, id: &str, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.action(id, "pause", None, options).await
    }

    pub async fn resume(&self, id: &str, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.action(id, "resume", None, options).await
    }

    pub async fn reboot(&self, id: &str, reboot: &RebootRequest, options: &Options) -> Result<Accepted<Vm>, ClientError> {
        self.action(id, "reboot", json(reboot), options).await
    }

    /// Runs a program and answers when it ended, with what it printed. For more output, input or a terminal there is `exec_stream`.
    pub async fn exec(&self, id: &str, exec: &ExecRequest) -> Result<ExecResult, ClientError> {
        let options = Options::default();
        let mut request = Request::new(Method::POST, self.0.url(&["v1", "vms", id, "exec"])?, json(exec), &options);
        request.timeout = REQUEST_TIMEOUT + Duration::from_secs(u64::from(exec.timeout_s.unwrap_or(EXEC_DEFAULT_S)));
        decode(self.0.send(request).await?).await
    }

    /// The newest sample.
    pub async fn metrics(&self, id: &str) -> Result<VmMetrics, ClientError> {
        self.0.get(self.0.url(&["v1", "vms", id, "metrics"])?).await
    }

    /// What is known from outside the guest, which need not answer.
    pub async fn vmm_metrics(&self, id: &str) -> Result<VmmMetrics, ClientError> {
        self.0.get(self.0.url(&["v1", "vms", id, "metrics", "vmm"])?).await
    }

    async fn action(
        &self,
        id: &str,
        action: &str,
        body: Option<serde_json::Value>,
        options: &Options,
    ) -> Result<Accepted<Vm>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "vms", id, action])?, body, options).await
    }
}
