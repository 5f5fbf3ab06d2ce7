//! Icons: strokes on a 16 by 16 grid, in the colour of the text around them. Always beside words or a label, never alone in meaning.

use yew::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    Dashboard,
    Vm,
    Image,
    Host,
    Operation,
    Event,
    Tree,
    Plus,
    Play,
    Stop,
    Pause,
    Reboot,
    Trash,
    Search,
    Theme,
    Menu,
    Close,
    Down,
    Copy,
    Check,
    Alert,
    Info,
    Leave,
    Keyboard,
    Terminal,
}

impl Glyph {
    fn path(self) -> &'static str {
        match self {
            Glyph::Dashboard => "M2.5 2.5h4.5v6H2.5zM9 2.5h4.5v3.5H9zM9 8h4.5v5.5H9zM2.5 10.5h4.5v3H2.5z",
            Glyph::Vm => "M2.5 3h11v8h-11zM5.5 13.5h5M8 11v2.5",
            Glyph::Image => "M8 2l6 3-6 3-6-3zM2 8l6 3 6-3M2 11l6 3 6-3",
            Glyph::Host => "M2.5 2.5h11v4.5h-11zM2.5 9h11v4.5h-11zM5 4.75h.01M5 11.25h.01",
            Glyph::Operation => "M1.5 8h3l2-5 3 10 2-5h3",
            Glyph::Event => "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
            Glyph::Tree => "M6 2.5h4v3H6zM2 10.5h4v3H2zM10 10.5h4v3h-4zM8 5.5V8M4 10.5V8h8v2.5",
            Glyph::Plus => "M8 3v10M3 8h10",
            Glyph::Play => "M5 3l8 5-8 5z",
            Glyph::Stop => "M4 4h8v8H4z",
            Glyph::Pause => "M5.5 3.5v9M10.5 3.5v9",
            Glyph::Reboot => "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
            Glyph::Trash => "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9",
            Glyph::Search => "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.5 10.5l3 3",
            Glyph::Theme => "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
            Glyph::Menu => "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
            Glyph::Close => "M4 4l8 8M12 4l-8 8",
            Glyph::Down => "M4.5 6.5L8 10l3.5-3.5",
            Glyph::Copy => "M6 6h7.5v7.5H6zM10 6V2.5H2.5V10H6",
            Glyph::Check => "M3 8.5l3.5 3.5L13 4.5",
            Glyph::Alert => "M8 2.5l6 11H2zM8 6.5v3M8 11.5h.01",
            Glyph::Info => "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 7.5v3.5M8 5.2h.01",
            Glyph::Leave => "M6 2.5H2.5v11H6M10.5 5l3 3-3 3M13 8H6",
            Glyph::Keyboard => "M1.5 4h13v8h-13zM4 6.5h.01M6.7 6.5h.01M9.3 6.5h.01M12 6.5h.01M5 9.5h6",
            Glyph::Terminal => "M2 3h12v10H2zM4.5 6l2 2-2 2M8.5 10h3",
        }
    }
}

/// A function, not a component: a component costs kilobytes, and this is everywhere.
pub fn icon(glyph: Glyph) -> Html {
    html! {
        <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor"
            stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round">
            <path d={glyph.path()} />
        </svg>
    }
}
