//! The web console in a real browser, on real guests: what a person does there, without one reload.

use anyhow::{Context, Result, ensure};
use api::v1::{VmSpec, VmState};
use hearth_tests::{
    Guest, Need, Options, Server,
    browser::{Browser, ENTER, Look},
    guest::nothing_left,
    scenario, small,
};
use std::path::{Path, PathBuf};

const NEEDS: &[Need] = &[Need::Guests, Need::Browser];
const DESK: Look = Look { width: 1280, height: 800, dark: false };
const NIGHT: Look = Look { dark: true, ..DESK };
const PHONE: Look = Look { width: 390, height: 844, dark: false };

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

async fn signed_in(server: &Server) -> Result<Browser> {
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

async fn connection(browser: &Browser, state: &str) -> Result<()> {
    attribute(browser, "connection", state).await
}

/// Waits until the element is in this state.
async fn attribute(browser: &Browser, id: &str, state: &str) -> Result<()> {
    let script = format!("return document.querySelector(\"[data-testid='{id}']\")?.dataset.state === '{state}'");
    browser.until_script(&format!("{id} {state}"), &script).await
}

async fn open(browser: &Browser, name: &str) -> Result<()> {
    browser.click("nav-vms").await?;
    browser.shown(&format!("vm-row-{name}")).await?;
    browser.script(&format!("document.querySelector(\"[data-testid='vm-row-{name}'] a\").click()")).await.map(|_| ())
}

/// Types at the prompt and waits for what only the guest can have computed.
async fn ask_terminal(browser: &Browser) -> Result<()> {
    browser.click("tab-terminal").await?;
    browser.until_script("a prompt in the terminal", "return (window.hearthTerminalText?.() ?? '').includes('#')").await?;
    browser.click("terminal").await?;
    browser.keys(&format!("echo answer is $((6 * 7)){ENTER}")).await?;
    browser.until_script("the answer in the terminal", "return window.hearthTerminalText().includes('answer is 42')").await
}

async fn was_never_reloaded(browser: &Browser) -> Result<()> {
    ensure!(browser.script("return window.neverReloaded === true").await? == true, "the page was loaded anew");
    Ok(())
}

/// Sign in, create, watch it come up, type in its terminal, look at metrics and events, stop it, delete it.
#[tokio::test(flavor = "multi_thread")]
async fn a_vms_life_in_the_browser() -> Result<()> {
    scenario("a_vms_life_in_the_browser", NEEDS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let browser = Browser::open().await?;
        browser.look(DESK).await?;
        browser.go(&format!("{}/vms", server.url())).await?;
        browser.type_in("sign-in-token", "hearth_this-is-not-the-token").await?;
        browser.click("sign-in-submit").await?;
        let refused = "return document.querySelector(\"[data-testid='sign-in-token']\")?.getAttribute('aria-invalid') === 'true'";
        browser.until_script("the refusal of a wrong token", refused).await?;
        drop(browser);

        let browser = signed_in(&server).await?;
        browser.click("nav-vms").await?;
        browser.click("vm-create-open").await?;
        browser.type_in("vm-create-name", "seen").await?;
        browser.type_in("vm-create-image", "busybox").await?;
        browser.click("vm-create-submit").await?;
        browser.click("nav-vms").await?;
        attribute(&browser, "vm-state-seen", "running").await?;
        // What the host gives away is told without a look at the host.
        browser.click("nav-dashboard").await?;
        browser.until_script("the memory held", "return /256 MiB of/.test(document.querySelector('main').innerText)").await?;
        open(&browser, "seen").await?;
        attribute(&browser, "vm-state", "running").await?;
        ask_terminal(&browser).await?;

        browser.click("tab-metrics").await?;
        let drawn = "return [...document.querySelectorAll(\"[data-testid='charts'] svg path\")].some(path => (path.getAttribute('d') ?? '').split('L').length > 2)";
        browser.until_script("lines in the charts", drawn).await?;
        browser.click("tab-logs").await?;
        browser.text("log", "has the guest's words", |text| text.len() > 20).await?;
        browser.click("tab-events").await?;
        browser.until_script("its start among the events", "return /\\bstarted\\b/i.test(document.querySelector('main').innerText)").await?;

        let described = "const b = document.querySelector(\"[data-testid='action-start']\"); return b?.getAttribute('aria-disabled') === 'true' && (b.getAttribute('aria-description') ?? '').includes('already running')";
        browser.until_script("why start is refused", described).await?;
        browser.click("action-stop").await?;
        attribute(&browser, "vm-state", "stopped").await?;
        let id = server.client().vms().get("seen").await?.id;
        // Somebody else starts it.
        server.client().vms().start("seen", &hearth_tests::guest::waiting()).await?;
        attribute(&browser, "vm-state", "running").await?;
        server.client().vms().stop("seen", &api::v1::StopRequest { force: true, deadline_s: None }, &hearth_tests::guest::waiting()).await?;
        attribute(&browser, "vm-state", "stopped").await?;
        browser.click("action-delete").await?;
        browser.click("delete-confirm").await?;
        browser.click("nav-vms").await?;
        browser.until_script("a list without it", "return !document.querySelector(\"[data-testid='vm-row-seen']\")").await?;
        was_never_reloaded(&browser).await?;
        // A page may ask for a VM whose end it has not heard of yet; the browser notes the 404.
        let errors = browser.errors(&[&id]).await?;
        ensure!(errors.is_empty(), "the page's console has errors: {errors:?}");
        nothing_left(&server, None).await
    })
    .await
}

/// The server dies and comes back: the page says so, keeps what it shows, and goes on with what happened meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_survives_the_server() -> Result<()> {
    scenario("the_page_survives_the_server", NEEDS, async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "stays", offline()).await?;
        let browser = signed_in(&server).await?;
        browser.click("nav-vms").await?;
        attribute(&browser, "vm-state-stays", "running").await?;
        server.kill().await?;
        connection(&browser, "lost").await?;
        browser.shown("vm-row-stays").await.context("what was shown is gone with the connection")?;
        server.up().await?;
        connection(&browser, "live").await?;
        let other = Guest::make(&server, "later", offline()).await?;
        attribute(&browser, "vm-state-later", "created").await?;
        guest.reaches(VmState::Running).await?;
        open(&browser, "stays").await?;
        ask_terminal(&browser).await?;
        was_never_reloaded(&browser).await?;
        // The browser itself notes what it could not reach meanwhile.
        let errors = browser.errors(&["ERR_CONNECTION_REFUSED", "WebSocket connection to", "Failed to load resource"]).await?;
        ensure!(errors.is_empty(), "the page's console has errors: {errors:?}");
        guest.delete(&server, true).await?;
        other.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// At a phone's width nothing is wider than the screen, and the way around works.
#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_a_phone() -> Result<()> {
    scenario("pages_fit_a_phone", &[Need::Browser], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        hearth_tests::images::pretend(&server).await?;
        Guest::boot(&server, "a-name-that-is-rather-long-for-a-phone", small()).await?;
        let browser = signed_in(&server).await?;
        browser.look(Look { width: 360, ..PHONE }).await?;
        for page in ["/", "/vms", "/vms/new", "/images", "/images/import", "/hosts", "/operations", "/events"] {
            browser.go(&format!("{}{page}", server.url())).await?;
            connection_or_drawer(&browser).await?;
            let wide = browser.script("return document.documentElement.scrollWidth - window.innerWidth").await?;
            ensure!(wide.as_i64().is_some_and(|wide| wide <= 0), "{page} is {wide} pixels wider than a phone");
        }
        Ok(())
    })
    .await
}

/// The page has drawn its content.
async fn connection_or_drawer(browser: &Browser) -> Result<()> {
    browser.until_script("a page with a heading", "return !!document.querySelector('main h1')").await
}

/// Pictures for the documentation, only when HEARTH_SCREENSHOTS names a folder: a test run must not change the tree.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_for_the_documentation() -> Result<()> {
    let Some(folder) = std::env::var_os("HEARTH_SCREENSHOTS").map(PathBuf::from) else { return Ok(()) };
    scenario("pictures_for_the_documentation", NEEDS, async |machine| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&folder);
        std::fs::create_dir_all(&folder)?;
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
        if std::env::var_os("HEARTH_SCREENSHOTS_ALL").is_some() {
            for (name, look) in [("light", DESK), ("dark", NIGHT), ("phone", PHONE)] {
                browser.look(look).await?;
                for (page, path) in [("dashboard", "/"), ("vms", "/vms"), ("create", "/vms/new"), ("vm", "/vms/web"), ("logs", "/vms/web/logs"), ("vm-events", "/vms/web/events"), ("images", "/images"), ("import", "/images/import"), ("hosts", "/hosts"), ("operations", "/operations"), ("events", "/events")] {
                    browser.go(&format!("{}{path}", server.url())).await?;
                    connection_or_drawer(&browser).await?;
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
