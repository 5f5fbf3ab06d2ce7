//! Getting around in the web console: signed in, from page to page, in a VM's terminal. What the pages promise is said by the suite.

use crate::{
    Server,
    browser::{Browser, ENTER, Look},
};
use anyhow::{Result, ensure};

pub const DESK: Look = Look { width: 1280, height: 800, dark: false };
pub const NIGHT: Look = Look { dark: true, ..DESK };
pub const PHONE: Look = Look { width: 390, height: 844, dark: false };

pub async fn signed_in(server: &Server) -> Result<Browser> {
    let browser = Browser::open().await?;
    browser.look(DESK).await?;
    browser.go(&server.url()).await?;
    browser.type_in("sign-in-token", &server.token()?).await?;
    browser.click("sign-in-submit").await?;
    connection(&browser, "live").await?;
    // Lost by a reload, and by nothing else.
    browser.script("window.neverReloaded = true").await?;
    Ok(browser)
}

pub async fn connection(browser: &Browser, state: &str) -> Result<()> {
    attribute(browser, "connection", state).await
}

/// Waits until the element is in this state.
pub async fn attribute(browser: &Browser, id: &str, state: &str) -> Result<()> {
    let script = format!("return document.querySelector(\"[data-testid='{id}']\")?.dataset.state === '{state}'");
    browser.until_script(&format!("{id} {state}"), &script).await
}

pub async fn open(browser: &Browser, name: &str) -> Result<()> {
    browser.click("nav-vms").await?;
    browser.shown(&format!("vm-row-{name}")).await?;
    browser.script(&format!("document.querySelector(\"[data-testid='vm-row-{name}'] a\").click()")).await.map(|_| ())
}

/// Types at the prompt and waits for what only the guest can have computed.
pub async fn ask_terminal(browser: &Browser) -> Result<()> {
    browser.click("tab-terminal").await?;
    browser.until_script("a prompt in the terminal", "return (window.hearthTerminalText?.() ?? '').includes('#')").await?;
    browser.click("terminal").await?;
    browser.keys(&format!("echo answer is $((6 * 7)){ENTER}")).await?;
    browser.until_script("the answer in the terminal", "return window.hearthTerminalText().includes('answer is 42')").await
}

pub async fn was_never_reloaded(browser: &Browser) -> Result<()> {
    ensure!(browser.script("return window.neverReloaded === true").await? == true, "the page was loaded anew");
    Ok(())
}

/// The page has drawn its content.
pub async fn drawn(browser: &Browser) -> Result<()> {
    browser.until_script("a page with a heading", "return !!document.querySelector('main h1')").await
}
