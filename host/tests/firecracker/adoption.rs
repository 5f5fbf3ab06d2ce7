//! A guest outlives its hearth: a second driver on the same data directory finds it, speaks with it and hears how it ended.

use crate::contract::{HELLO, SOON, end};
use crate::guests::{kill_9, lives, output, within};
use crate::lab::Lab;
use domain::vm::{Exit, Inspection};
use host::vmm::Vmm;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_driver_adopts_and_hears_how_it_ended() {
    let Some(lab) = Lab::open("a_second_driver_adopts_and_hears_how_it_ended").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    let boot = guest.info().boot_id;
    drop((guest, first));
    assert!(lives(machine.pid), "a guest outlives hearth");
    let second = lab.driver().await;
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello again");
    assert_eq!(guest.info().boot_id, boot, "the same guest, not booted anew");
    second.pause(lab.vm, &machine).await.unwrap();
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Paused);
    second.resume(lab.vm, &machine).await.unwrap();
    assert_eq!(output(&*guest, &["echo", "adopted"]).await, "adopted");
    // Nobody watches while the guest ends; the third driver still learns why. An image's init that powers off leaves its processor halted and
    // Firecracker standing, and what comes next ends that.
    guest.shutdown(api::guest::ShutdownKind::Poweroff, Duration::from_secs(15)).await.unwrap();
    drop((guest, second));
    let third = lab.driver().await;
    let _running_or_gone = third.inspect(lab.vm, &machine).await.unwrap();
    assert_eq!(end(&third, lab.vm, &machine).await, Exit::GuestShutdown);
    third.remove(lab.vm).await.unwrap();
    lab.left_nothing(&third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_that_nobody_watched_is_told() {
    let Some(lab) = Lab::open("a_reboot_that_nobody_watched_is_told").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    guest.shutdown(api::guest::ShutdownKind::Reboot, Duration::from_secs(15)).await.unwrap();
    drop((guest, first));
    within(SOON, "a reboot ends the process by itself", || !lives(machine.pid)).await;
    let second = lab.driver().await;
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Gone { exit: Exit::GuestReboot });
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_guest_is_adopted_as_paused() {
    let Some(lab) = Lab::open("a_paused_guest_is_adopted_as_paused").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    first.pause(lab.vm, &machine).await.unwrap();
    drop((guest, first));
    let second = lab.driver().await;
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Paused);
    second.resume(lab.vm, &machine).await.unwrap();
    let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello again");
    guest.ping().await.unwrap();
    second.kill(lab.vm, &machine).await.unwrap();
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_killing_of_an_adopted_guest_is_seen_at_once() {
    let Some(lab) = Lab::open("the_killing_of_an_adopted_guest_is_seen_at_once").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    drop((guest, first));
    let second = lab.driver().await;
    assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    kill_9(machine.pid);
    assert_eq!(end(&second, lab.vm, &machine).await, Exit::Killed { signal: 9 });
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_one_knows_is_swept_by_a_second_driver() {
    let Some(lab) = Lab::open("what_no_one_knows_is_swept_by_a_second_driver").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    drop((guest, first));
    let second = lab.driver().await;
    let removed = second.sweep(&[]).await.unwrap();
    assert!(removed.iter().any(|what| what.contains(&lab.vm.to_string())), "{removed:?}");
    assert!(!lives(machine.pid));
    lab.left_nothing(&second).await;
}

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
