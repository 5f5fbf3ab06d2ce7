//! What is Firecracker's own when a second driver adopts a guest, beside what every driver keeps (`support/real.rs`): a release that was cut off,
//! and a jail that is looked at again.

use crate::contract::{HELLO, end};
use crate::guests::{lives, output};
use crate::lab::Lab;
use domain::vm::{Exit, Inspection};
use host::vmm::{Vmm, firecracker::JailChoice};
use std::time::Duration;

/// Where the process keeps its vsock's socket, once it was told of it.
fn vsock(folder: &std::path::Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => vsock(&entry.path()),
        _ => entry.file_name() == "v.sock",
    })
}

/// Cut off between the configuration and the start, which the next hearth says again.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_cut_off_is_repeated() {
    let Some(lab) = Lab::open("a_release_that_was_cut_off_is_repeated").await else { return };
    let first = lab.driver().await;
    let plan = lab.plan();
    first.prepare_disk(&plan.disk).await.unwrap();
    let machine = first.launch(&plan, domain::Attempt(1)).await.unwrap();
    let told = async {
        while !vsock(lab.data.path()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        released = first.release(lab.vm, &machine) => released.unwrap(),
        () = told => {}
    }
    drop(first);
    let second = lab.driver().await;
    let found = second.inspect(lab.vm, &machine).await.unwrap();
    eprintln!("found {found:?}");
    assert!(matches!(found, Inspection::Held | Inspection::Running), "{found:?}");
    second.release(lab.vm, &machine).await.unwrap();
    let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello");
    assert_eq!(output(&*guest, &["echo", "there"]).await, "there");
    second.kill(lab.vm, &machine).await.unwrap();
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}

/// What must hold is read from what the guest's own start left, not from how this hearth starts others.
#[tokio::test(flavor = "multi_thread")]
async fn a_jailed_guest_is_adopted_by_a_hearth_that_makes_no_jails() {
    let Some(lab) = Lab::open("a_jailed_guest_is_adopted_by_a_hearth_that_makes_no_jails").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    drop((guest, first));
    let second = lab.driver_with(JailChoice::None).await;
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    // A record that is lost says nothing about the process.
    std::fs::remove_file(lab.folder().join("uid")).unwrap();
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello again");
    assert_eq!(output(&*guest, &["echo", "adopted"]).await, "adopted");
    second.kill(lab.vm, &machine).await.unwrap();
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}

/// The process is as it was; it is the record of what it should be that is changed here, since nothing takes the filter from a live thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_jail_does_not_hold_is_ended_when_it_is_adopted() {
    let Some(lab) = Lab::open("a_guest_whose_jail_does_not_hold_is_ended_when_it_is_adopted").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    assert_eq!(first.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    drop((guest, first));
    std::fs::write(lab.folder().join("uid"), "1900070063\n").unwrap();
    let second = lab.driver_with(JailChoice::None).await;
    let Inspection::Gone { exit } = second.inspect(lab.vm, &machine).await.unwrap() else { panic!("it was adopted") };
    assert!(!lives(machine.pid));
    let Exit::Failed { code: -1, detail } = &exit else { panic!("{exit:?}") };
    eprintln!("told: {detail}");
    assert!(detail.starts_with("the VMM refused confinement: ") && detail.contains("do not run as user 1900070063"), "{detail}");
    assert_eq!(end(&second, lab.vm, &machine).await, exit, "told again as before");
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}
