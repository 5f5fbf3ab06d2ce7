//! Twenty guests of one driver at once: they boot a few at a time, answer side by side, and are gone together.

use crate::contract::{HELLO, plan, start};
use crate::guests::output;
use crate::lab::Lab;
use domain::{
    VmId,
    vm::{Inspection, Machine},
};
use host::vmm::Vmm;
use std::{collections::BTreeSet, num::NonZero, time::Instant};
use tokio::sync::Semaphore;

const MANY: usize = 20;
/// As many boot at once as there are processors, up to this: where these are emulated, a boot fills one for longer than half a minute.
const MOST_STARTING: usize = 4;
/// Debian's kernel and the agent boot in it.
const MEM_MIB: u32 = 128;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_guests_live_at_once_and_leave_nothing() {
    let Some(lab) = Lab::alone("twenty_guests_live_at_once_and_leave_nothing").await else { return };
    let driver = lab.driver().await;
    let from = Instant::now();
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let starting = Semaphore::new(processors.min(MOST_STARTING));
    let starts = (1..=MANY).map(|number| {
        let mut plan = plan(VmId::from_bits(rand::random()), lab.images());
        plan.mem_mib = MEM_MIB;
        let (driver, starting) = (&driver, &starting);
        async move {
            let _turn = starting.acquire().await.unwrap();
            let machine = start(driver, &plan, 1).await;
            match driver.guest(plan.vm, &machine, HELLO).await {
                Ok(guest) => {
                    eprintln!("guest {number} said hello after {:?}", from.elapsed());
                    (plan.vm, machine, guest)
                }
                Err(error) => panic!("hello: {error:?}; {}", last_words(driver, plan.vm, &machine).await),
            }
        }
    });
    let guests = futures_util::future::join_all(starts).await;
    eprintln!("{MANY} guests said hello after {:?}", from.elapsed());
    let boots: BTreeSet<_> = guests.iter().map(|(_, _, guest)| guest.info().boot_id).collect();
    assert_eq!(boots.len(), MANY, "each is a guest of its own");
    let mut used = 0;
    for (vm, machine, guest) in &guests {
        assert_eq!(driver.inspect(*vm, machine).await.unwrap(), Inspection::Running);
        assert_eq!(output(&**guest, &["echo", &vm.to_string()]).await, vm.to_string());
        used += driver.usage(*vm, machine).await.unwrap().rss_bytes;
    }
    eprintln!("{} MiB resident", used >> 20);
    let ends = guests.iter().map(|(vm, machine, _)| {
        let driver = &driver;
        async move {
            driver.kill(*vm, machine).await.unwrap();
            driver.remove(*vm).await.unwrap();
        }
    });
    futures_util::future::join_all(ends).await;
    lab.left_nothing(&driver).await;
}

/// How a guest that did not answer stands, and what it printed last.
async fn last_words(driver: &dyn Vmm, vm: VmId, machine: &Machine) -> String {
    let stands = driver.inspect(vm, machine).await;
    let printed = driver.console_log(vm, 2048).await.map(|log| String::from_utf8_lossy(&log).into_owned());
    format!("{stands:?}, {printed:?}")
}
