//! The actors of hosts: [`supervisor::Hosts`], and one actor for this node's own host.
//!
//! **Duty** of a host's actor: looks at its machine every ten seconds, keeps what is known of it, and holds the ledger of memory to it.
//! **Restart**: loaded from the journal, then `Recovered`, which looks again.

mod actor;
mod supervisor;

pub(crate) use supervisor::{Hosts, HostsArgs, HostsMsg};
