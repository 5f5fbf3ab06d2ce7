//! Tabs that are addresses: they can be linked to, opened beside, and left by the back button.

use crate::route::Route;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub label: AttrValue,
    /// Key, label and address, in order.
    pub tabs: Vec<(&'static str, &'static str, Route)>,
    pub current: AttrValue,
}

#[component]
pub fn Tabs(props: &Props) -> Html {
    html! {
        <nav class="tabs" aria-label={props.label.clone()}>
            { for props.tabs.iter().map(|(key, label, route)| {
                let current = props.current == **key;
                html! {
                    <span class={classes!("tab", current.then_some("current"))} data-testid={format!("tab-{key}")}>
                        <Link<Route> to={route.clone()}>{ label }</Link<Route>>
                    </span>
                }
            }) }
        </nav>
    }
}
