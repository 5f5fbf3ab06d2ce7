//! Lending a TAP device to a process in a network namespace of its own, and taking it back. Owns the moves; what is done with the device
//! meanwhile is the process's.
//!
//! ```text
//!  hearth's namespace   TAP on the bridge      -                      TAP on the bridge again, carrier by the process's file
//!                              | lend          |                        ^ take_back
//!  the process's               +------------> TAP: opened by its name --+
//! ```
//! A TUN file stays attached to its device wherever that goes. A move takes the device down and off its bridge; owner, MAC, alias and
//! persistence stay (tried on 6.1 and 6.18). A device that is lent when the process ends is removed with the namespace.

use super::{
    NetError,
    links::{Link, LinkError, Links},
    nat::tap_error,
    owner::Mark,
};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};
use std::{fs::File, io, os::fd::OwnedFd};
use tokio::{runtime::Handle, sync::oneshot};

/// The network namespace of a process.
struct Space {
    links: Links,
    itself: File,
}

/// The calling thread's: a namespace is a thread's own.
fn own_space() -> Result<File, LinkError> {
    File::open("/proc/thread-self/ns/net").map_err(LinkError::Open)
}

impl Space {
    /// A socket stays in the namespace that it was made in, so a thread visits and ends.
    async fn of(process: &OwnedFd) -> Result<Space, LinkError> {
        let (process, runtime) = (process.try_clone().map_err(LinkError::Open)?, Handle::current());
        let (sender, receiver) = oneshot::channel();
        let visit = move || {
            let _runtime = runtime.enter();
            let entered = setns(&process, CloneFlags::CLONE_NEWNET).map_err(|error| LinkError::Open(error.into()));
            // Nobody listens any more: the caller was dropped.
            let _told = sender.send(entered.and_then(|()| Ok(Space { links: Links::connect()?, itself: own_space()? })));
        };
        std::thread::Builder::new().name("network-visit".to_owned()).spawn(visit).map_err(LinkError::Open)?;
        receiver.await.unwrap_or_else(|_| Err(LinkError::Open(io::Error::other("the visit broke off"))))
    }
}

fn absent(tap: &str) -> NetError {
    NetError::Tap { tap: tap.to_owned(), detail: "there is no such device".to_owned() }
}

/// The bridge that the TAP is on.
pub async fn bridge_of(tap: &str) -> Result<Option<String>, NetError> {
    let found = async {
        let links = Links::connect()?;
        let Some(index) = links.find(tap).await?.and_then(|link| link.controller) else { return Ok(None) };
        Ok(links.all().await?.into_iter().find(|link| link.index == index).map(|bridge| bridge.name))
    };
    found.await.map_err(|error| tap_error(tap, error))
}

/// Moves the TAP to where the process of that pidfd can open it by its name. One that is there already stays. Cancel: it is in either place.
///
/// Errors: there is no such device; the process is gone.
pub async fn lend(tap: &str, process: &OwnedFd) -> Result<(), NetError> {
    let moved = async {
        let (home, space) = (Links::connect()?, Space::of(process).await?);
        if space.links.find(tap).await?.is_some() {
            return Ok(true);
        }
        let Some(link) = home.find(tap).await? else { return Ok(false) };
        home.move_to(link.index, &space.itself).await.map(|()| true)
    };
    match moved.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(absent(tap)),
        Err(error) => Err(tap_error(tap, error)),
    }
}

/// Takes a lent TAP back, and puts it on that bridge as it was: isolated before it is up, and open to that MAC only. Without a bridge it is
/// left down. One that was taken back already is put right where it is, for that may have been cut off in the middle. A TAP that was meanwhile made
/// in its place and that nobody uses is removed. Cancel: it is in either place, or not on the bridge, or open to any MAC.
///
/// Errors: it is in neither place; another device has its name here.
pub async fn take_back(tap: &str, process: &OwnedFd, bridge: Option<&str>, mac: Option<[u8; 6]>) -> Result<(), NetError> {
    let failed = |error| tap_error(tap, error);
    let space = Space::of(process).await.map_err(failed)?;
    let home = Links::connect().map_err(failed)?;
    let lent = space.links.find(tap).await.map_err(failed)?;
    if let Some(lent) = &lent {
        bring(lent, &space, &home).await?;
    }
    // Its index may have been taken here.
    let back = home.find(tap).await.map_err(failed)?.filter(|link| lent.is_some() || is_hearths(link));
    let back = back.ok_or_else(|| absent(tap))?;
    let Some(bridge) = bridge else { return Ok(()) };
    let Some(bridge) = home.find(bridge).await.map_err(failed)? else {
        // Whoever makes the bridge again puts all TAPs on it that are there.
        tracing::warn!(tap, bridge, "the bridge is gone");
        return Ok(());
    };
    home.join(back.index, back.alias.as_deref().unwrap_or_default(), bridge.index).await.map_err(failed)?;
    match mac {
        Some(mac) => home.lock_port(back.index, mac).await.map_err(failed),
        None => Ok(()),
    }
}

/// Moves it here.
async fn bring(lent: &Link, space: &Space, home: &Links) -> Result<(), NetError> {
    let tap = lent.name.as_str();
    let failed = |error| tap_error(tap, error);
    if let Some(other) = home.find(tap).await.map_err(failed)?
        && is_empty_twin(&other, lent)
    {
        home.remove(other.index).await.map_err(failed)?;
    }
    let itself = own_space().map_err(failed)?;
    match space.links.move_to(lent.index, &itself).await {
        Err(error) if error.is(Errno::EEXIST) => {
            let detail = "another device took its name while its VM was being started: remove it".to_owned();
            Err(NetError::Tap { tap: tap.to_owned(), detail })
        }
        other => other.map_err(failed),
    }
}

/// A device of this name that is another's is not what was lent.
fn is_hearths(link: &Link) -> bool {
    link.alias.as_deref().and_then(Mark::parse).is_some()
}

/// Whether it was made for the same VM, and nobody holds its other end.
fn is_empty_twin(other: &Link, lent: &Link) -> bool {
    let whose = |link: &Link| {
        let mark = link.alias.as_deref().and_then(Mark::parse)?;
        Some((mark.owner.to_owned(), mark.what.to_owned()))
    };
    other.kind == lent.kind && whose(other).is_some() && whose(other) == whose(lent) && !other.has_carrier
}
