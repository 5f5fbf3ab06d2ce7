//! The web console in a real browser, on real guests: what a person does there, without one reload.

use anyhow::{Context, Result, ensure};
use api::v1::{CreateImage, ImageKind, ImageSpec, Labels, OperationStatus, VmSpec, VmState};
use hearth_tests::{
    Guest, Need, Options, Server,
    browser::{Browser, Look},
    console::{DESK, PHONE, ask_terminal, attribute, connection, drawn, open, signed_in, was_never_reloaded},
    guest::nothing_left,
    scenario, small,
};

const NEEDS: &[Need] = &[Need::Guests, Need::Browser];

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
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
        browser.click("first-boot").await?;
        browser.type_in("vm-create-keys", "ssh-ed25519 AAAA seen").await?;
        browser.click("data-drives").await?;
        browser.type_in("vm-create-drives", "data 64 ro").await?;
        browser.click("vm-create-password").await?;
        browser.click("vm-create-submit").await?;
        browser.text("vm-password", "is the password", |text| text.matches('-').count() == 4).await?;
        let shown = "return document.querySelector(\"[data-testid='vm-password']\").innerText.match(/([a-z2-9]{5}-){4}[a-z2-9]{5}/)[0]";
        let password = browser.script(shown).await?;
        browser.click("vm-create-done").await?;
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

        // What a running machine takes over, and what it is given for its next boot.
        browser.click("tab-overview").await?;
        browser.click("vm-edit").await?;
        browser.click("devices").await?;
        browser.type_in("disk-rate", "50").await?;
        browser.type_in("balloon", "16").await?;
        browser.click("vm-edit-submit").await?;
        browser.until_script("the limit and the balloon", "return /disk 50 MiB\\/s[^]*16 MiB/.test(document.querySelector('main').innerText)").await?;
        let seen = server.client().vms().get("seen").await?;
        ensure!(seen.spec.rate_limits.disk_mib_per_s == Some(50) && seen.spec.balloon_mib == 16, "{:?}", seen.spec);
        let drives: Vec<_> = seen.spec.drives.iter().map(|drive| (drive.name.as_str(), drive.size_mib, drive.read_only)).collect();
        ensure!(drives == [("data", 64, true)], "{drives:?}");
        browser.until_script("the data drive", "return /data 64 MiB, read-only/.test(document.querySelector('main').innerText)").await?;
        let keys = seen.spec.cloud_init.map(|given| given.ssh_keys).unwrap_or_default();
        ensure!(keys == ["ssh-ed25519 AAAA seen"], "{keys:?}");
        let kept = format!("return document.documentElement.innerHTML.includes({password})");
        ensure!(browser.script(&kept).await? == false, "the password is still on the page");
        browser.until_script("that one was made", "return /1 key, a password/.test(document.querySelector('main').innerText)").await?;

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
        for page in [
            "/",
            "/vms",
            "/vms/new",
            "/images",
            "/images/import",
            "/hosts",
            "/operations",
            "/webhooks",
            "/webhooks/new",
            "/events",
            "/node",
        ] {
            browser.go(&format!("{}{page}", server.url())).await?;
            drawn(&browser).await?;
            let wide = browser.script("return document.documentElement.scrollWidth - window.innerWidth").await?;
            ensure!(wide.as_i64().is_some_and(|wide| wide <= 0), "{page} is {wide} pixels wider than a phone");
        }
        Ok(())
    })
    .await
}

/// A webhook is made and its secret shown once, the server's actors are there as they live, and an import is cancelled with one click.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_the_actors_and_a_cancellation_in_the_browser() -> Result<()> {
    scenario("a_webhook_the_actors_and_a_cancellation_in_the_browser", &[Need::Browser], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        let browser = signed_in(&server).await?;
        browser.click("nav-webhooks").await?;
        browser.click("webhook-create-open").await?;
        browser.type_in("webhook-create-name", "hook").await?;
        browser.type_in("webhook-create-url", "ftp://nowhere/").await?;
        browser.click("webhook-create-submit").await?;
        let refused = "return /must begin with http/i.test(document.querySelector('form').innerText)";
        browser.until_script("why the address is refused", refused).await?;
        let emptied = "const e = document.querySelector(\"[data-testid='webhook-create-url']\"); e.value = ''; e.dispatchEvent(new Event('input', {bubbles: true}))";
        browser.script(emptied).await?;
        // Port 9 of the loopback takes nothing: the webhook says so.
        browser.type_in("webhook-create-url", "http://127.0.0.1:9/").await?;
        browser.click("webhook-create-submit").await?;
        browser.text("webhook-secret", "is the secret", |text| text.contains("whsec_")).await?;
        browser.click("webhook-create-done").await?;
        browser.shown("webhook-row-hook").await?;
        let hook = server.client().webhooks().get("hook").await?;
        ensure!(hook.spec.url == "http://127.0.0.1:9/" && hook.secret.is_none(), "{hook:?}");
        let whole = browser.script("return document.documentElement.innerHTML.includes('whsec_')").await?;
        ensure!(whole == false, "the secret is still on the page");

        browser.click("nav-node").await?;
        for supervisor in ["vms", "images", "hosts", "operations", "webhooks"] {
            browser.shown(&format!("actor-{supervisor}")).await?;
        }
        browser.click("node-all").await?;
        browser.shown(&format!("actor-{}", hook.id)).await?;
        // What lives later is shown without being asked for again.
        hearth_tests::images::pretend(&server).await?;
        let guest = Guest::boot(&server, "lives", small()).await?;
        browser.shown(&format!("actor-{}", guest.id)).await?;
        let running = format!("return /running/.test(document.querySelector(\"[data-testid='actor-{}']\")?.innerText ?? '')", guest.id);
        browser.until_script("its actor running", &running).await?;

        let folder = tempfile::tempdir()?;
        let path = hearth_tests::images::endless(folder.path())?.to_string_lossy().into_owned();
        let spec = ImageSpec { kind: ImageKind::Rootfs, path, initrd: None, default: false, description: None };
        let create = CreateImage { name: "large".into(), project: None, labels: Labels::new(), spec };
        let import = server.client().images().create(&create, &Default::default()).await?.operation.context("an operation")?;
        browser.click("nav-operations").await?;
        browser.click("cancel-large").await?;
        let gone = "return !document.querySelector(\"[data-testid='cancel-large']\") && /cancelled/.test(document.querySelector('.operations').innerText)";
        browser.until_script("the end of the import", gone).await?;
        let ended = server.client().operations().get(&import).await?;
        ensure!(ended.status == OperationStatus::Cancelled, "{ended:?}");
        ensure!(server.client().images().get("large").await.is_err(), "what was imported is left");
        was_never_reloaded(&browser).await?;
        // The refused address is a 422, and a page may ask for the image whose end it has not heard of yet.
        let errors = browser.errors(&["422", "404"]).await?;
        ensure!(errors.is_empty(), "the page's console has errors: {errors:?}");
        Ok(())
    })
    .await
}
