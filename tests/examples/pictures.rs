//! The console's pictures in the documentation, drawn from real guests: `scripts/in-netns.sh cargo run -p hearth-tests --example pictures docs/img`.
//! With HEARTH_ALL_PAGES every page in each look, for whoever looks after the console. No test: it promises nothing.

use anyhow::{Context, Result};
use api::v1::VmSpec;
use hearth_tests::{
    Guest, Need, Options, Server,
    browser::{Browser, ENTER, Look},
    console::{DESK, NIGHT, PHONE, ask_terminal, attribute, drawn, open, signed_in},
    guest::nothing_left,
    scenario, small,
};
use std::path::{Path, PathBuf};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("the folder for the pictures")?;
    std::fs::create_dir_all(&folder)?;
    scenario("pictures", &[Need::Guests, Need::Network, Need::Browser], async |machine| {
        let server = Server::start(&machine, Options::qemu()).await?;
        // Signed in first: the dashboard then has something to tell.
        let browser = signed_in(&server).await?;
        let mut guests = Vec::new();
        for name in ["web", "database"] {
            guests.push(Guest::boot(&server, name, small()).await?);
        }
        guests.push(Guest::make(&server, "spare", small()).await?);
        guests.push(Guest::make(&server, "build", VmSpec { vcpus: 2, mem_mib: 512, ..small() }).await?);
        guests[1].pause().await?;
        browser.click("nav-vms").await?;
        attribute(&browser, "vm-state-database", "paused").await?;
        picture(&browser, DESK, &folder.join("vms.png")).await?;
        browser.click("nav-dashboard").await?;
        browser.until_script("the newest event", "return /paused/i.test(document.querySelector('main').innerText)").await?;
        picture(&browser, DESK, &folder.join("dashboard.png")).await?;
        open(&browser, "web").await?;
        let work = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/root/f bs=64k count=40; sync; ping -c 3 GATEWAY; sleep 2";
        let line = format!("(while :; do {work}; done) > /dev/null 2>&1 & echo $! > /tmp/load").replace("GATEWAY", &server.gateway());
        guests[0].sh(&line).await?;
        browser.click("tab-metrics").await?;
        let grown = "return [...document.querySelectorAll(\"[data-testid='charts'] svg path\")].some(path => (path.getAttribute('d') ?? '').split('L').length > 50)";
        browser.until_script("fifty samples", grown).await?;
        picture(&browser, NIGHT, &folder.join("vm-metrics.png")).await?;
        guests[0].sh("kill $(cat /tmp/load)").await?;
        ask_terminal(&browser).await?;
        browser.keys(&format!("uname -a; free -m{ENTER}")).await?;
        browser.until_script("memory in the terminal", "return window.hearthTerminalText().includes('Mem:')").await?;
        picture(&browser, NIGHT, &folder.join("vm-terminal.png")).await?;
        browser.look(PHONE).await?;
        browser.go(&format!("{}/vms", server.url())).await?;
        browser.until_script("the list", "return document.body.innerText.includes('web')").await?;
        picture(&browser, PHONE, &folder.join("phone.png")).await?;
        // Not for the documents, but for whoever looks after the console.
        if std::env::var_os("HEARTH_ALL_PAGES").is_some() {
            for (name, look) in [("light", DESK), ("dark", NIGHT), ("phone", PHONE)] {
                browser.look(look).await?;
                for (page, path) in [("dashboard", "/"), ("vms", "/vms"), ("create", "/vms/new"), ("vm", "/vms/web"), ("logs", "/vms/web/logs"), ("vm-events", "/vms/web/events"), ("images", "/images"), ("import", "/images/import"), ("hosts", "/hosts"), ("operations", "/operations"), ("events", "/events")] {
                    browser.go(&format!("{}{path}", server.url())).await?;
                    drawn(&browser).await?;
                    picture(&browser, look, &folder.join(format!("all-{page}-{name}.png"))).await?;
                }
            }
        }
        for guest in &guests {
            guest.delete(&server, true).await?;
        }
        nothing_left(&server, None).await
    })
    .await
}

/// Once the page is at rest: nothing is loading and no skeleton is shown.
async fn picture(browser: &Browser, look: Look, file: &Path) -> Result<()> {
    browser.look(look).await?;
    let rest = "return document.readyState === 'complete' && !document.querySelector('.skeleton') && document.getAnimations().every(a => a.playState !== 'running' || a.effect.getTiming().iterations === Infinity)";
    browser.until_script("a page at rest", rest).await?;
    browser.picture(file).await
}
