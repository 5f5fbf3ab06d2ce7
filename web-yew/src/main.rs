//! x
use yew::prelude::*;
#[component]
fn App() -> Html { html!{<p>{"x"}</p>} }
fn main(){ yew::Renderer::<App>::new().render(); }
