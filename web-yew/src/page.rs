//! The pages, one file each, and which address shows which.

mod dashboard;
mod events;
mod host;
mod hosts;
mod image_import;
mod images;
mod node;
mod operations;
mod parts;
pub mod sign_in;
mod told;
mod vm;
mod vm_create;
mod vm_devices;
mod vm_metadata;
mod vm_networks;
mod vms;
mod webhook;
mod webhook_create;
mod webhooks;

use crate::route::Route;
use crate::ui::{Empty, Glyph};
use yew::prelude::*;
use yew_router::prelude::*;

pub fn switch(route: Route) -> Html {
    match route {
        Route::Dashboard => html! { <dashboard::Dashboard /> },
        Route::SignIn => html! { <Redirect<Route> to={Route::Dashboard} /> },
        Route::Vms => html! { <vms::Vms creating={false} /> },
        Route::VmNew => html! { <vms::Vms creating={true} /> },
        Route::Vm { id } => html! { <vm::VmPage {id} tab="overview" /> },
        Route::VmTab { id, tab } => html! { <vm::VmPage {id} {tab} /> },
        Route::Images => html! { <images::Images importing={false} /> },
        Route::ImageImport => html! { <images::Images importing={true} /> },
        Route::Hosts => html! { <hosts::Hosts /> },
        Route::Host { id } => html! { <host::HostPage {id} /> },
        Route::Operations => html! { <operations::Operations /> },
        Route::Webhooks => html! { <webhooks::Webhooks creating={false} /> },
        Route::WebhookNew => html! { <webhooks::Webhooks creating={true} /> },
        Route::Webhook { id } => html! { <webhook::WebhookPage {id} /> },
        Route::Events => html! { <events::Events /> },
        Route::Node => html! { <node::NodePage /> },
        Route::NotFound => html! {
            <Empty glyph={Glyph::Search} title="There is no such page">
                <p><Link<Route> to={Route::Dashboard}>{ "Go to the dashboard" }</Link<Route>></p>
            </Empty>
        },
    }
}
