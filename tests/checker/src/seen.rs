//! What hearth says of itself, over its REST API and in its data directory's `id`.

use crate::{Finding, Kind};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// A server that starts with hundreds of VMs on a slow machine answers late; one that does not answer at all is an error.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Which hearth is looked at, and what besides its own word is known of it.
#[derive(Debug, Clone)]
pub struct Target {
    pub data_dir: PathBuf,
    pub url: String,
    pub token: String,
    /// The server's process; absent: whatever runs `hearth up` on this directory.
    pub server: Option<u32>,
    /// `KEY=VALUE` of the server's environment, which its children inherit: shows those that carry no other mark.
    pub environment: Option<String>,
    /// Absent: it runs without a network.
    pub bridge: Option<String>,
    pub ledger: Option<PathBuf>,
    pub failures: Failures,
}

/// Whether the machine was such that operations may fail and VMs with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failures {
    /// Nothing happened to it but the end of hearth: whatever fails is a finding.
    Found,
    /// It had no room or no descriptors.
    Allowed,
    /// Its disk lost what was not yet on it. Of hearth's that is nothing, but the simulated machines are written there in passing: to
    /// them it is a loss of power, and what ran may be found to have failed.
    MachinesLost,
}

impl Target {
    /// Which hearth it is; stands on everything that belongs to it.
    pub fn owner(&self) -> Result<String> {
        let path = self.data_dir.join("id");
        Ok(std::fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenVm {
    pub name: String,
    pub state: String,
    pub pid: Option<u32>,
    pub simulated: bool,
    /// How many network interfaces it was given.
    pub interfaces: usize,
    /// For messages: the code of its reason and what it says.
    pub reason: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By id.
    pub vms: BTreeMap<String, SeenVm>,
    /// Ids of images, and their states.
    pub images: BTreeMap<String, String>,
    pub webhooks: Vec<String>,
    /// In words.
    pub running: Vec<String>,
    /// In words, with the reason.
    pub failed: Vec<String>,
}

impl Seen {
    pub async fn by_api(target: &Target) -> Result<Seen> {
        let api = Api::of(target)?;
        let mut seen = Seen::default();
        for vm in api.list("vms?limit=500").await? {
            let (status, vmm) = (&vm["status"], &vm["status"]["vmm"]);
            let reason = status["reason"]["code"].as_str();
            let row = SeenVm {
                name: text(&vm["name"]),
                state: text(&status["state"]),
                pid: vmm["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
                simulated: vmm["driver"] == "simulated",
                interfaces: status["interfaces"].as_array().map_or(0, Vec::len),
                reason: reason.map(|code| format!("{code}: {}", text(&status["reason"]["detail"]))),
            };
            seen.vms.insert(text(&vm["id"]), row);
        }
        for image in api.list("images?limit=500").await? {
            seen.images.insert(text(&image["id"]), text(&image["status"]["state"]));
        }
        seen.webhooks = api.list("webhooks?limit=500").await?.iter().map(|webhook| text(&webhook["id"])).collect();
        seen.running = api.list("operations?limit=500&state=running").await?.iter().map(told).collect();
        seen.failed = api.list("operations?limit=500&state=failed").await?.iter().map(told).collect();
        Ok(seen)
    }

    /// What is on its way; a machine at rest has none.
    pub fn unfinished(&self) -> Vec<Finding> {
        let rest = ["created", "running", "paused", "stopped", "failed"];
        let vms = self.vms.iter().filter(|(_, vm)| !rest.contains(&vm.state.as_str()));
        let vms = vms.map(|(id, vm)| Finding::new(Kind::Unfinished, format!("{id} ({}) is {}", vm.name, vm.state)));
        let images = self.images.iter().filter(|(_, state)| !["ready", "failed"].contains(&state.as_str()));
        let images = images.map(|(id, state)| Finding::new(Kind::Unfinished, format!("{id} is {state}")));
        let operations = self.running.iter().map(|operation| Finding::new(Kind::Unfinished, operation.clone()));
        vms.chain(images).chain(operations).collect()
    }

    /// What failed, on a machine on which nothing may.
    pub fn failures(&self) -> Vec<Finding> {
        let failed = |what: &String| Finding::new(Kind::FailedOperation, what.clone());
        self.failed.iter().map(failed).collect()
    }
}

fn told(operation: &Value) -> String {
    let (id, kind, of) = (text(&operation["id"]), text(&operation["kind"]), text(&operation["target"]["id"]));
    match operation["error"]["code"].as_str() {
        Some(code) => format!("{id} {kind} of {of}: {code}: {}", text(&operation["error"]["detail"])),
        None => format!("{id} {kind} of {of}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads the REST API by hand: the typed client is hearth's code.
pub struct Api<'a> {
    http: reqwest::Client,
    target: &'a Target,
}

impl Api<'_> {
    pub fn of(target: &Target) -> Result<Api<'_>> {
        Ok(Api { http: reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?, target })
    }

    /// `None`: there is no such thing.
    async fn get(&self, what: &str) -> Result<Option<Value>> {
        let url = format!("{}/v1/{what}", self.target.url);
        let answer = self.http.get(&url).bearer_auth(&self.target.token).send().await?;
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).with_context(|| url.clone())?;
        if status == 404 {
            return Ok(None);
        }
        ensure!(status.is_success(), "{url} answered {status}: {body}");
        Ok(Some(body))
    }

    /// The status of an operation; `None`: nobody remembers it.
    pub async fn operation(&self, id: &str) -> Result<Option<String>> {
        Ok(self.get(&format!("operations/{id}")).await?.map(|operation| text(&operation["status"])))
    }

    /// Every page.
    async fn list(&self, what: &str) -> Result<Vec<Value>> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let more = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
            let mut page = self.get(&format!("{what}{more}")).await?.with_context(|| format!("there is no list {what}"))?;
            all.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return Ok(all),
            }
        }
    }
}
