//! What hearth says of itself, over its REST API and in its data directory's `id`.

use crate::{Finding, Kind};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Which hearth is looked at.
#[derive(Debug, Clone)]
pub struct Target {
    pub data_dir: PathBuf,
    pub url: String,
    pub token: String,
    /// Absent: it runs without a network.
    pub bridge: Option<String>,
    pub ledger: Option<PathBuf>,
}

impl Target {
    /// Which hearth it is; stands on everything that belongs to it.
    pub fn owner(&self) -> Result<String> {
        let path = self.data_dir.join("id");
        Ok(std::fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned())
    }
}

#[derive(Debug, Clone)]
pub struct SeenVm {
    pub name: String,
    pub state: String,
    pub pid: Option<u32>,
    pub simulated: bool,
    /// Whether it was given an address.
    pub networked: bool,
    /// For messages: the code of its reason.
    pub reason: Option<String>,
}

#[derive(Debug, Default)]
pub struct Seen {
    /// By id.
    pub vms: BTreeMap<String, SeenVm>,
    /// Ids of images, and whether they are there for good.
    pub images: BTreeMap<String, String>,
    pub running: Vec<String>,
    /// Ended operations: whether they succeeded.
    pub ended: BTreeMap<String, bool>,
}

impl Seen {
    pub async fn by_api(target: &Target) -> Result<Seen> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        let mut seen = Seen::default();
        for vm in list(&http, target, "vms").await? {
            let vmm = &vm["status"]["vmm"];
            let row = SeenVm {
                name: text(&vm["name"]),
                state: text(&vm["status"]["state"]),
                pid: vmm["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
                simulated: vmm["driver"] == "simulated",
                networked: vm["status"]["ips"].as_array().is_some_and(|ips| !ips.is_empty()),
                reason: vm["status"]["reason"]["code"].as_str().map(str::to_owned),
            };
            seen.vms.insert(text(&vm["id"]), row);
        }
        for image in list(&http, target, "images").await? {
            seen.images.insert(text(&image["id"]), text(&image["status"]["state"]));
        }
        for operation in list(&http, target, "operations").await? {
            let id = text(&operation["id"]);
            match operation["status"].as_str() {
                Some("running") => {
                    seen.running.push(format!("{id} {} of {}", text(&operation["kind"]), text(&operation["target"]["id"])));
                }
                status => {
                    seen.ended.insert(id, status == Some("succeeded"));
                }
            }
        }
        Ok(seen)
    }

    /// What is on its way; a machine at rest has none.
    pub fn unfinished(&self) -> Vec<Finding> {
        let rest = ["created", "running", "paused", "stopped", "failed"];
        let vms = self.vms.iter().filter(|(_, vm)| !rest.contains(&vm.state.as_str()));
        let vms = vms.map(|(id, vm)| Finding::new(Kind::Unfinished, format!("{id} ({}) is {}", vm.name, vm.state)));
        vms.chain(self.running.iter().map(|operation| Finding::new(Kind::Unfinished, operation.clone()))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Every page.
async fn list(http: &reqwest::Client, target: &Target, kind: &str) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let more = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let url = format!("{}/v1/{kind}?limit=500{more}", target.url);
        let answer = http.get(&url).bearer_auth(&target.token).send().await?;
        let status = answer.status();
        let mut page: Value = serde_json::from_slice(&answer.bytes().await?).with_context(|| url.clone())?;
        ensure!(status.is_success(), "{url} answered {status}: {page}");
        all.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(all),
        }
    }
}
