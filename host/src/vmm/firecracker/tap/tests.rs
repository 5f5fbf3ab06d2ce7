//! All TAP devices of a machine, lent to a process that stands for a VMM, in a network namespace of the test's own.

use super::super::super::{
    sample,
    shared::{
        console::{ConsoleLog, Keyboard, Manner},
        process,
        run::Nature,
    },
};
use super::super::stage;
use super::*;
use crate::net::{
    Interface, Network,
    nat::NatNetwork,
    tests::{Running, in_namespace, ip, opened, traffic::lend::apart},
};
use domain::{
    Attempt,
    vm::{Driver, Exit, Machine},
};
use std::{cell::Cell, path::Path, sync::Arc};

const MANNER: Manner = Manner { keyboard: Keyboard::Pipe("keyboard"), other_log: None, beside: None };
const NATURE: Nature = Nature { is_polite: false, explain: |_, _| Ok(Exit::Unknown), beside: None };

fn run(process: &Running, folder: &Path) -> Arc<Run> {
    let pid = process.0.id();
    let machine = Machine {
        launch: Attempt(1),
        driver: Driver::Firecracker,
        pid,
        start_ticks: 0,
        executable: "sleep".into(),
        version: "1.16.1".into(),
    };
    let console = ConsoleLog::new(folder.into(), MANNER);
    Run::watch(machine, process::open_pidfd(pid).unwrap(), None, folder.into(), console, NATURE, None).unwrap()
}

/// A machine with so many interfaces, attached and bound, as its process is told of them.
async fn configured(network: &NatNetwork, count: u8) -> Config {
    let plan = MachinePlan { nics: sample::nics(count), ..sample::plan() };
    for nic in &plan.nics {
        network.attach(plan.vm, &nic.tap).await.unwrap();
    }
    let bound = plan.nics.iter().map(|nic| Interface { tap: nic.tap.clone(), address: nic.address, mac: nic.mac });
    network.bind(plan.vm, &bound.collect::<Vec<_>>()).await.unwrap();
    let mut config = stage::configured(&plan, None);
    config.place(ports(&plan).await.unwrap());
    config
}

/// Where it is, and as what.
fn seen(tap: &str) -> (Option<u32>, [bool; 3]) {
    let shown = ip(&format!("-o -d link show dev {tap}"));
    let index = shown.split(':').next().and_then(|index| index.parse().ok());
    (index, ["master hearth0", "isolated on", "locked on"].map(|told| shown.contains(told)))
}

#[test]
fn of_many_devices_of_which_one_is_gone_all_others_come_back_as_they_were() {
    in_namespace(|| async {
        let (network, folder) = (opened().await, tempfile::tempdir().unwrap());
        let config = configured(&network, 4).await;
        let taps = ["hth0", "hth1", "hth3"];
        let before = taps.map(seen);
        assert!(before.iter().all(|(index, told)| index.is_some() && *told == [true; 3]), "{before:?}");
        let (process, _pidfd) = apart();
        let run = run(&process, folder.path());
        network.detach("hth2").await.unwrap();
        let refused = lend_all(&config, &run).await.unwrap_err();
        assert!(matches!(&refused, NetError::Tap { tap, .. } if tap == "hth2"), "{refused}");
        assert_eq!([seen("hth0").0, seen("hth1").0], [None, None], "they are with the process");
        let opened = Cell::new(false);
        let open = async {
            opened.set(true);
            Ok(())
        };
        let refused = with_taps(&config, &run, open).await.unwrap_err();
        assert!(!opened.get(), "the process has not all of them");
        assert!(matches!(&refused, VmmError::Network { detail } if detail.contains("hth2")), "{refused}");
        assert_eq!(taps.map(seen), before);
    });
}

#[test]
fn devices_of_a_machine_that_was_loaded_come_home_locked_wherever_a_hearth_left_them() {
    in_namespace(|| async {
        let (network, folder) = (opened().await, tempfile::tempdir().unwrap());
        let config = configured(&network, 3).await;
        let (process, _pidfd) = apart();
        let run = run(&process, folder.path());
        // One is away, one on its bridge and open to all, one off it.
        lend::lend("hth0", run.pidfd()).await.unwrap();
        assert_eq!(ip("link set dev hth1 type bridge_slave locked off") + &ip("link set dev hth2 nomaster"), "");
        bring_home(&config, &run).await.unwrap();
        let home = ["hth0", "hth1", "hth2"].map(seen);
        assert!(home.iter().all(|(index, told)| index.is_some() && *told == [true; 3]), "{home:?}");
    });
}
