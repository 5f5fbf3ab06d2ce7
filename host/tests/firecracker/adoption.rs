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
