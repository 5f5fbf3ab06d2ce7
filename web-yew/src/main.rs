//! The web console of hearth: a page in WebAssembly that reads the same REST API and event stream as everyone else. What it decides is in
//! the crate `model`, tested without a browser; here is what the browser is needed for.

mod app;
mod chart;
mod hearth;
mod link;
mod page;
mod palette;
mod route;
mod session;
mod shell;
mod shortcuts;
mod term;
mod ui;

use wasm_bindgen::JsCast;

fn main() {
    let app = web_sys::window().and_then(|w| w.document()).and_then(|document| document.get_element_by_id("app"));
    if let Some(app) = app {
        // The line that says that it loads.
        app.set_text_content(None);
        yew::Renderer::<app::App>::with_root(app.unchecked_into()).render();
    }
}
