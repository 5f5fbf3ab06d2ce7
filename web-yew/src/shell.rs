//! The frame around every page: navigation, the line that tells of a lost connection, the palette and the help.

use crate::hearth::use_hearth;
use crate::palette::Palette;
use crate::route::Route;
use crate::session::Theme;
use crate::shortcuts::{Help, Shortcut, use_shortcuts};
use crate::ui::{Button, Glyph, Tone, icon};
use model::store::Connection;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub children: Html,
}

#[derive(Clone, Copy, PartialEq)]
enum Overlay {
    None,
    Palette,
    Help,
}

#[component]
pub fn Shell(props: &Props) -> Html {
    let hearth = use_hearth();
    let overlay = use_state(|| Overlay::None);
    let drawer = use_state(|| false);
    let navigator = use_navigator();
    let location = use_location();
    {
        let overlay = overlay.clone();
        use_shortcuts(Callback::from(move |shortcut| match shortcut {
            Shortcut::Palette => overlay.set(Overlay::Palette),
            Shortcut::Help => overlay.set(Overlay::Help),
            Shortcut::Go(route) => {
                if let Some(navigator) = &navigator {
                    navigator.push(&route);
                }
            }
        }));
    }
    {
        // Going somewhere closes the drawer.
        let drawer = drawer.clone();
        use_effect_with(location, move |_| drawer.set(false));
    }
    let open_drawer = {
        let drawer = drawer.clone();
        Callback::from(move |()| drawer.set(!*drawer))
    };
    let show = |what: Overlay| {
        let overlay = overlay.clone();
        Callback::from(move |()| overlay.set(what))
    };
    html! {
        <div class="shell">
            <a class="skip" href="#main">{ "Skip to content" }</a>
            <header class="topbar">
                <Button label="Navigation" icon_only={true} icon={Glyph::Menu} tone={Tone::Ghost} onclick={open_drawer} />
                <Brand />
            </header>
            <aside class={classes!("side", drawer.then_some("open"))}>
                <Brand />
                <button type="button" class="jump" onclick={let show = show(Overlay::Palette); move |_: MouseEvent| show.emit(())}>
                    { icon(Glyph::Search) }<span>{ "Search or run…" }</span><kbd>{ "Ctrl K" }</kbd>
                </button>
                <Navigation />
                <footer>
                    <ConnectionLine connection={hearth.store().connection} />
                    <div class="side-tools">
                        <ThemeButton />
                        <Button label="Keyboard shortcuts" icon_only={true} icon={Glyph::Keyboard} tone={Tone::Ghost} onclick={show(Overlay::Help)} />
                        <Button label="Sign out" icon_only={true} icon={Glyph::Leave} tone={Tone::Ghost} onclick={hearth.sign_out.clone()}
                            testid="sign-out" />
                    </div>
                </footer>
            </aside>
            if *drawer {
                <div class="scrim" onclick={let drawer = drawer.clone(); move |_: MouseEvent| drawer.set(false)}></div>
            }
            <main id="main" tabindex="-1">
                <Banner connection={hearth.store().connection} />
                { props.children.clone() }
            </main>
            if *overlay == Overlay::Palette { <Palette onclose={show(Overlay::None)} /> }
            if *overlay == Overlay::Help { <Help onclose={show(Overlay::None)} /> }
        </div>
    }
}

#[component]
fn Brand() -> Html {
    html! {
        <Link<Route> to={Route::Dashboard} classes="brand"><img src="/icon.svg" alt="" width="22" height="22" /><span>{ "hearth" }</span></Link<Route>>
    }
}

#[component]
fn Navigation() -> Html {
    let hearth = use_hearth();
    let current = use_route::<Route>();
    let store = hearth.store();
    let running = store.running_operations().len();
    let count = |number: usize| (number > 0).then(|| html! { <span class="count">{ number }</span> });
    let entries = [
        (Route::Dashboard, "dashboard", "Dashboard", Glyph::Dashboard, None),
        (Route::Vms, "vms", "Virtual machines", Glyph::Vm, count(store.vms.len())),
        (Route::Images, "images", "Images", Glyph::Image, count(store.images.len())),
        (Route::Hosts, "hosts", "Hosts", Glyph::Host, count(store.hosts.len())),
        (Route::Operations, "operations", "Operations", Glyph::Operation, count(running)),
        (Route::Events, "events", "Events", Glyph::Event, None),
        (Route::Node, "node", "Server", Glyph::Tree, None),
    ];
    html! {
        <nav aria-label="Main">
            { for entries.into_iter().map(|(route, key, label, glyph, count)| {
                let here = current.as_ref().is_some_and(|current| section(current) == key);
                html! {
                    <span class={classes!("nav", here.then_some("current"))} data-testid={format!("nav-{key}")}>
                        <Link<Route> to={route}>{ icon(glyph) }<span>{ label }</span>{ count }</Link<Route>>
                    </span>
                }
            }) }
        </nav>
    }
}

fn section(route: &Route) -> &'static str {
    match route {
        Route::Dashboard => "dashboard",
        Route::Vms | Route::VmNew | Route::Vm { .. } | Route::VmTab { .. } => "vms",
        Route::Images | Route::ImageImport => "images",
        Route::Hosts | Route::Host { .. } => "hosts",
        Route::Operations => "operations",
        Route::Events => "events",
        Route::Node => "node",
        Route::SignIn | Route::NotFound => "",
    }
}

#[derive(PartialEq, Properties)]
struct ConnectionProps {
    connection: Connection,
}

#[component]
fn ConnectionLine(props: &ConnectionProps) -> Html {
    let (tone, words) = match props.connection {
        Connection::Live => ("live", "Live"),
        Connection::Connecting => ("connecting", "Connecting…"),
        Connection::Lost { .. } => ("lost", "Reconnecting"),
    };
    html! {
        <p class={classes!("connection", tone)} role="status" data-testid="connection" data-state={tone}>
            <i aria-hidden="true"></i>{ words }
        </p>
    }
}

/// Said once it is more than a hiccup; what is shown stays.
#[component]
fn Banner(props: &ConnectionProps) -> Html {
    let hearth = use_hearth();
    let Connection::Lost { attempt } = props.connection else { return html! {} };
    let retry = {
        let live = hearth.live.clone();
        Callback::from(move |()| live.hurry())
    };
    html! {
        <div class="banner" role="status" data-testid="banner">
            { icon(Glyph::Alert) }
            <span>{ "Connection lost. What you see may be out of date; trying again" }
                if attempt > 1 { { format!(" (attempt {attempt})") } }{ "." }</span>
            <Button label="Try now" onclick={retry} />
        </div>
    }
}

#[component]
fn ThemeButton() -> Html {
    let theme = use_state(Theme::current);
    let onclick = {
        let theme = theme.clone();
        Callback::from(move |()| {
            let next = theme.next();
            next.apply();
            theme.set(next);
        })
    };
    html! {
        <Button label={format!("Colours: {}. Next: {}", theme.label(), theme.next().label())} icon_only={true} icon={Glyph::Theme}
            tone={Tone::Ghost} {onclick} testid="theme" />
    }
}
