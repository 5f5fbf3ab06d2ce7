//! The console's addresses. The server answers each with the same page.

use yew_router::prelude::*;

#[derive(Debug, Clone, PartialEq, Routable)]
pub enum Route {
    #[at("/")]
    Dashboard,
    #[at("/sign-in")]
    SignIn,
    #[at("/vms")]
    Vms,
    #[at("/vms/new")]
    VmNew,
    #[at("/vms/:id")]
    Vm { id: String },
    #[at("/vms/:id/:tab")]
    VmTab { id: String, tab: String },
    #[at("/images")]
    Images,
    #[at("/images/import")]
    ImageImport,
    #[at("/hosts")]
    Hosts,
    #[at("/hosts/:id")]
    Host { id: String },
    #[at("/operations")]
    Operations,
    #[at("/events")]
    Events,
    #[at("/node")]
    Node,
    #[not_found]
    #[at("/404")]
    NotFound,
}
