//! A headless Chromium, driven by chromedriver's WebDriver protocol: the few calls that the console's suite needs.

mod driver;

use crate::{PATIENCE, until};
use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use driver::Driver;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// The key under which WebDriver gives an element (W3C WebDriver, 11).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// A command of ours that takes longer than this has hung.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// WebDriver's code points for keys without a character.
pub const ENTER: &str = "\u{E007}";

/// One browser window with a profile of its own.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    _driver: Driver,
    _profile: tempfile::TempDir,
}

/// How wide, how dark.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

impl Browser {
    pub async fn open() -> Result<Browser> {
        let profile = tempfile::Builder::new().prefix("hearth-browser-").tempdir()?;
        let driver = Driver::start().await?;
        let http = reqwest::Client::builder().no_proxy().timeout(COMMAND_WITHIN).build()?;
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let mut arguments =
            vec!["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"];
        arguments.extend([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ]);
        arguments.push(&profile_flag);
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer =
            call(http.post(format!("{}/session", driver.url())).json(&capabilities)).await.context("a browser session")?;
        let id = answer["sessionId"].as_str().context("a session id")?;
        let session = format!("{}/session/{id}", driver.url());
        Ok(Browser { http, session, _driver: driver, _profile: profile })
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        call(self.http.post(format!("{}/{path}", self.session)).json(&body)).await.with_context(|| path.to_owned())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        call(self.http.get(format!("{}/{path}", self.session))).await.with_context(|| path.to_owned())
    }

    pub async fn go(&self, url: &str) -> Result<()> {
        self.post("url", json!({"url": url})).await.map(|_| ())
    }

    /// Runs JavaScript; gives what it returns.
    pub async fn script(&self, text: &str) -> Result<Value> {
        self.post("execute/sync", json!({"script": text, "args": []})).await
    }

    /// A function of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        self.post("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// The element with this data-testid, as soon as it is shown.
    async fn element(&self, id: &str) -> Result<String> {
        let selector = json!({"using": "css selector", "value": format!("[data-testid='{id}']")});
        until(&format!("{id} on the page"), PATIENCE, || async {
            let found = self.post("elements", selector.clone()).await?;
            for element in found.as_array().into_iter().flatten() {
                let reference = element[ELEMENT].as_str().context("an element's reference")?;
                // It may vanish between the two questions.
                let shown = self.get(&format!("element/{reference}/displayed")).await;
                if shown.is_ok_and(|shown| shown == Value::Bool(true)) {
                    return Ok(Some(reference.to_owned()));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Clicks it once it is there and enabled; the page may be drawing it anew meanwhile.
    pub async fn click(&self, id: &str) -> Result<()> {
        until(&format!("a click on {id}"), PATIENCE, || async {
            let element = self.element(id).await?;
            let disabled = self.get(&format!("element/{element}/attribute/aria-disabled")).await.unwrap_or_default();
            let enabled = self.get(&format!("element/{element}/enabled")).await.unwrap_or_default();
            if enabled != Value::Bool(true) || disabled == "true" {
                return Ok(None);
            }
            Ok(self.post(&format!("element/{element}/click"), json!({})).await.ok())
        })
        .await
        .map(|_| ())
    }

    pub async fn type_in(&self, id: &str, text: &str) -> Result<()> {
        let element = self.element(id).await?;
        self.post(&format!("element/{element}/value"), json!({"text": text})).await.map(|_| ())
    }

    /// Keys to whatever has the focus.
    pub async fn keys(&self, text: &str) -> Result<()> {
        let mut actions = Vec::new();
        for key in text.chars() {
            actions.push(json!({"type": "keyDown", "value": key.to_string()}));
            actions.push(json!({"type": "keyUp", "value": key.to_string()}));
        }
        self.post("actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})).await.map(|_| ())
    }

    pub async fn shown(&self, id: &str) -> Result<()> {
        self.element(id).await.map(|_| ())
    }

    /// Waits until the element's text satisfies; gives it.
    pub async fn text(&self, id: &str, what: &str, fits: impl Fn(&str) -> bool) -> Result<String> {
        let read = format!("const e = document.querySelector(\"[data-testid='{id}']\"); return e ? e.innerText : null;");
        let what = format!("{id} that {what}");
        let waited = until(&what, PATIENCE, || async {
            let text = self.script(&read).await?;
            Ok(text.as_str().filter(|text| fits(text)).map(str::to_owned))
        });
        match waited.await {
            Ok(text) => Ok(text),
            Err(error) => Err(error.context(format!("it says {}", self.script(&read).await?))),
        }
    }

    /// Waits until the script returns true.
    pub async fn until_script(&self, what: &str, script: &str) -> Result<()> {
        until(what, PATIENCE, || async { Ok((self.script(script).await? == Value::Bool(true)).then_some(())) }).await
    }

    /// Errors that the page wrote to its console since the last call, without those that `expected` names.
    pub async fn errors(&self, expected: &[&str]) -> Result<Vec<String>> {
        let log = self.post("se/log", json!({"type": "browser"})).await?;
        let severe = log.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        let messages = severe.filter_map(|entry| entry["message"].as_str().map(str::to_owned));
        Ok(messages.filter(|message| !expected.iter().any(|word| message.contains(word))).collect())
    }

    pub async fn look(&self, look: Look) -> Result<()> {
        let size = json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await.map(|_| ())
    }

    /// A picture of the window.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        let answer = self.get("screenshot").await?;
        let bytes = STANDARD.decode(answer.as_str().context("a picture")?)?;
        std::fs::write(file, bytes).with_context(|| file.display().to_string())
    }
}

async fn call(request: reqwest::RequestBuilder) -> Result<Value> {
    let mut answer: Value = request.send().await?.json().await?;
    let value = answer["value"].take();
    match value.get("error").and_then(Value::as_str) {
        Some(error) => bail!("{error}: {}", value["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default()),
        None => Ok(value),
    }
}
