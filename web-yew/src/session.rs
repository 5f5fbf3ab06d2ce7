//! What the browser keeps: the token and the choice of colours. A token is kept for the tab, and for longer only when asked to.

use web_sys::Storage;

const TOKEN: &str = "hearth.token";
/// Also read by `js/theme.js` before the first paint.
const THEME: &str = "hearth.theme";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// Until the tab is closed.
    Tab,
    /// On this device, until signed out.
    Device,
}

fn tab() -> Option<Storage> {
    web_sys::window()?.session_storage().ok()?
}

fn device() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

pub fn token() -> Option<String> {
    let read = |storage: Option<Storage>| storage?.get_item(TOKEN).ok()?;
    read(tab()).or_else(|| read(device())).filter(|token| !token.is_empty())
}

/// A browser that refuses storage still signs in: the token then lives as long as the page.
pub fn keep(token: &str, remember: Remember) {
    let storage = match remember {
        Remember::Tab => tab(),
        Remember::Device => device(),
    };
    if let Some(storage) = storage {
        storage.set_item(TOKEN, token).ok();
    }
}

pub fn forget() {
    for storage in [tab(), device()].into_iter().flatten() {
        storage.remove_item(TOKEN).ok();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub fn current() -> Theme {
        let kept = device().and_then(|storage| storage.get_item(THEME).ok().flatten());
        match kept.as_deref() {
            Some("light") => Theme::Light,
            Some("dark") => Theme::Dark,
            _ => Theme::System,
        }
    }

    pub fn next(self) -> Theme {
        match self {
            Theme::System => Theme::Light,
            Theme::Light => Theme::Dark,
            Theme::Dark => Theme::System,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Theme::System => "System colours",
            Theme::Light => "Light",
            Theme::Dark => "Dark",
        }
    }

    pub fn apply(self) {
        let word = match self {
            Theme::System => None,
            Theme::Light => Some("light"),
            Theme::Dark => Some("dark"),
        };
        let root = web_sys::window().and_then(|w| w.document()).and_then(|d| d.document_element());
        match word {
            Some(word) => {
                root.map(|root| root.set_attribute("data-theme", word).ok());
                device().map(|storage| storage.set_item(THEME, word).ok());
            }
            None => {
                root.map(|root| root.remove_attribute("data-theme").ok());
                device().map(|storage| storage.remove_item(THEME).ok());
            }
        }
    }
}
