//! A port that is deaf: its session ended while the VM stood, and the guest spoke before somebody else was there.

use super::{HELLO, Lab, SOON};
use crate::real::RealLab;
use host::vmm::Vmm;
use tokio::io::AsyncReadExt;

/// Its pipes are full and it speaks to its session whenever it can, and on the console beside.
const TALKS: &str = "(while :; do echo on the console > /dev/console; sleep 1; done) & while :; do echo to the session; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_spoke_to_nobody_is_met_again() {
    let Some(lab) = Lab::open("a_guest_that_spoke_to_nobody_is_met_again").await else { return };
    let first = lab.driver().await;
    let (machine, guest) = lab.booted(&first).await;
    let argv = ["sh", "-c", TALKS].map(str::to_owned).to_vec();
    let mut talk = guest.exec(api::guest::ExecRequest { argv, ..Default::default() }).await.unwrap();
    talk.output.next().await.expect("it talks");
    first.pause(lab.vm, &machine).await.unwrap();
    drop((talk, guest, first));
    let second = lab.driver().await;
    // What it printed before it stood is no news.
    let mut console = second.console(lab.vm, 0).await.unwrap();
    second.resume(lab.vm, &machine).await.unwrap();
    let read = tokio::time::timeout(SOON, console.read(&mut [0; 64])).await.expect("the guest runs again").unwrap();
    assert!(read > 0);
    let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello again");
    guest.ping().await.unwrap();
    second.kill(lab.vm, &machine).await.unwrap();
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}
