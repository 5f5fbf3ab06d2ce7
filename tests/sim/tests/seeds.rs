//! A fixed and a fresh set of seeds. A failing one prints the line that runs it again.

use sim::{
    life::{Wanted, run},
    sweep, watch,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of the fresh ones; the fixed ones take what they take.
const FRESH_FOR: Duration = Duration::from_secs(45);
const FIXED: u64 = 400;

fn hold(seeds: std::ops::Range<u64>, time: Option<Duration>) {
    watch::catch_panics();
    let sum = sweep::seeds(seeds, None, time, 1);
    if let Some((seed, broken)) = sum.failed.first() {
        let shorter = sweep::shrink(&Wanted::seed(*seed));
        panic!(
            "seed {seed} of {} broke {} promises: {broken:#?}\n\n{}\n\nshorter:\n\n{}\n",
            sum.seeds,
            broken.len(),
            sweep::command(&Wanted::seed(*seed)),
            sweep::command(&shorter),
        );
    }
}

#[test]
fn fixed_seeds_hold() {
    hold(1..1 + FIXED, None);
}

#[test]
fn fresh_seeds_hold() {
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) % 100_000_000 * 10_000;
    hold(fresh..fresh + 10_000, Some(FRESH_FOR));
}

/// Seeds that found bugs, each as it was when it found one: a change of the simulation gives them other lives, which must hold as well.
#[test]
fn seeds_that_found_something_hold() {
    watch::catch_panics();
    for seed in [3, 5, 19, 274, 413, 494, 1142, 3596, 4960, 102, 161] {
        let outcome = run(&Wanted::seed(seed));
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
    }
}

/// Everything comes from the seed: the same one twice gives the same run, to the last line of its trace; on another thread too.
#[test]
fn the_same_seed_gives_the_same_run() {
    watch::catch_panics();
    let lives = || -> Vec<(u64, u64, u64)> {
        let life = |seed| {
            let outcome = run(&Wanted::seed(seed));
            (outcome.hash, outcome.lines, outcome.polls)
        };
        (1..60).map(life).collect()
    };
    let once = lives();
    let again = std::thread::spawn(lives).join().expect("no panic");
    assert_eq!(once, again);
    assert!(once.iter().collect::<std::collections::BTreeSet<_>>().len() > 50, "another seed gives another run");
}
