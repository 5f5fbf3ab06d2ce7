//! Limits of a guest's network interface, seen on bytes that go through it, to and from a server at the network's gateway. What is held against a
//! limit is the least time that it allows: a slow machine fails nothing. That nothing else is as slow is seen by the transfers beside it.

use crate::contract::{HELLO, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::network::{GATEWAY, TAP, in_namespace, network, plan};
use domain::vm::RateLimits;
use host::{
    guest::GuestSession,
    vmm::{MachinePlan, Tuning, Vmm},
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

pub const SENT: usize = 1 << 20;
/// Mbit a second: they take 6.4 s at the least, and 2.2 s; without a limit one, or two on a machine that is busy.
pub const SLOW: u32 = 1;
pub const FAST: u32 = 2;
/// What takes longer hangs, or is held to bits where bytes were meant.
const MOST: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, Copy)]
enum Way {
    ToGuest,
    FromGuest,
}

pub fn tuning(rx_mbit_per_s: Option<u32>, tx_mbit_per_s: Option<u32>) -> Tuning {
    Tuning { rate_limits: RateLimits { rx_mbit_per_s, tx_mbit_per_s, ..RateLimits::default() }, ..Tuning::default() }
}

/// Nothing that keeps the limit can be faster. The bucket holds what one second allows, is full at first, and Firecracker looks at what has
/// flowed in meanwhile only when it is empty (`rate_limiter/mod.rs`, `reduce`): two seconds' worth goes at once, the rest at so many bits a second.
pub fn least(mbit_per_s: u32) -> Duration {
    let bytes_per_s = f64::from(mbit_per_s) * 1e6 / 8.0;
    Duration::from_secs_f64(SENT as f64 / bytes_per_s - 2.0)
}

/// How long that many bytes take until the last of them is where it is to be.
async fn transfer(server: &TcpListener, guest: &dyn GuestSession, way: Way) -> Duration {
    let serve = async {
        let (mut socket, _) = server.accept().await.unwrap();
        match way {
            Way::ToGuest => {
                socket.write_all(&vec![7; SENT]).await.unwrap();
                SENT
            }
            Way::FromGuest => {
                let mut taken = Vec::with_capacity(SENT);
                socket.read_to_end(&mut taken).await.unwrap()
            }
        }
    };
    let script = match way {
        Way::ToGuest => format!("nc {GATEWAY} 53 </dev/null | wc -c"),
        Way::FromGuest => format!("head -c {SENT} /dev/zero | nc {GATEWAY} 53; echo {SENT}"),
    };
    let from = Instant::now();
    let asked = ["sh", "-c", &script];
    let both = async { tokio::join!(serve, output(guest, &asked)) };
    let (served, said) = tokio::time::timeout(MOST, both).await.unwrap_or_else(|_| panic!("{way:?} takes more than {MOST:?}"));
    let took = from.elapsed();
    assert_eq!((served, said), (SENT, SENT.to_string()), "{way:?}");
    took
}

#[test]
fn each_way_of_the_network_keeps_its_limit_from_the_start_and_as_it_changes() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("each_way_of_the_network_keeps_its_limit_from_the_start_and_as_it_changes").await else {
            return;
        };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        assert!(driver.capabilities().network_rate_limit);
        // Of the gateway guests reach port 53 alone.
        let server = TcpListener::bind((GATEWAY, 53)).await.unwrap();
        let plan = MachinePlan { tuning: tuning(Some(SLOW), Some(FAST)), ..plan(&lab, &*network).await };
        let machine = start(&driver, &plan, 1).await;
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let both = async |what: &str| {
            let to = transfer(&server, &*guest, Way::ToGuest).await;
            let from = transfer(&server, &*guest, Way::FromGuest).await;
            eprintln!("1 MiB, {what}: {to:?} to the guest, {from:?} from it");
            (to, from)
        };
        let tune = async |tuning: Tuning| driver.tune(lab.vm, &machine, &tuning).await.unwrap();

        let (slow_to, fast_from) = both("1 Mbit/s to the guest and 2 from it, from the start").await;
        tune(tuning(None, Some(SLOW))).await;
        let (free_to, slow_from) = both("1 Mbit/s from it").await;
        tune(tuning(Some(FAST), None)).await;
        let (fast_to, free_from) = both("2 Mbit/s to it").await;
        tune(Tuning::default()).await;
        let (last_to, last_from) = both("without limits").await;

        let to = (Way::ToGuest, slow_to, fast_to, [free_to, last_to]);
        let from = (Way::FromGuest, slow_from, fast_from, [free_from, last_from]);
        for (way, slow, fast, free) in [to, from] {
            for (took, limit) in [(slow, SLOW), (fast, FAST)] {
                assert!(took >= least(limit), "{way:?}: {took:?} at {limit} Mbit/s, which allows {:?}", least(limit));
            }
            assert!(fast < slow, "{way:?}: {fast:?} at {FAST} Mbit/s, {slow:?} at {SLOW}");
            for free in free {
                assert!(free * 2 < slow, "{way:?}: {free:?} without a limit, {slow:?} at {SLOW} Mbit/s");
            }
        }
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
        network.detach(TAP).await.unwrap();
        lab.left_nothing(&driver).await;
    });
}
