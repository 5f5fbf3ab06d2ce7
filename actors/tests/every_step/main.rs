//! Failure at every step: for every procedure its effects are recorded once, and then each of them fails, is done and reports failure,
//! is cut off by the end of hearth before and after, is cut off again in its recovery, and is done twice. After each the node must come
//! to rest with nothing lost and nothing left over, and the user must be able to go on.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

mod harness;
mod judge;
#[path = "../support/lab.rs"]
mod lab;
mod procedure;
mod script;
mod world;

use domain::vm::RestartPolicy;
use harness::Bench;
use judge::Goal;
use lab::on_a_standing_clock;
use procedure::{Place, Procedure};
use script::{COMMIT, Fault, Script, Step};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Of a case: the procedure, the effect that goes wrong, and how.
type Case<'a> = (&'a Procedure, &'a Step, Fault);

/// The procedure as it goes when nothing goes wrong: its effects, and where it leads. Absent: the place does not admit it.
async fn record(procedure: &Procedure) -> Option<(Vec<Step>, Goal)> {
    let mut bench = Bench::new().await;
    bench.set_up(procedure).await;
    if !bench.admits(&procedure.act) {
        bench.end().await;
        return None;
    }
    let before = judge::place(&bench);
    bench.script.arm(None);
    let asked = bench.begin(&procedure.act, procedure.policy).await;
    bench.settle(Arc::default, Some(asked)).await;
    let steps = bench.script.log();
    let after = judge::place(&bench);
    let fine = judge::whole(&bench).await;
    assert_eq!(fine, Ok(()), "{procedure}, and nothing went wrong: {}", bench.picture());
    assert!(steps.iter().any(|step| step.name == COMMIT), "{procedure} is no procedure: {steps:?}");
    bench.end().await;
    let mut bench = Bench::new().await;
    bench.set_up(procedure).await;
    bench.world.things().silent = false;
    bench.settle(Arc::default, None).await;
    let unasked = judge::place(&bench);
    bench.end().await;
    Some((steps, Goal { before, unasked, after }))
}

async fn try_out((procedure, step, fault): Case<'_>, goal: &Goal) -> Result<(), String> {
    let mut bench = Bench::new().await;
    bench.set_up(procedure).await;
    bench.script.arm(Some((step.clone(), fault)));
    let first = Arc::clone(&bench.script);
    let asked = bench.begin(&procedure.act, procedure.policy).await;
    let again = std::sync::atomic::AtomicBool::new(fault == Fault::CrashesAgain);
    let next_life = || {
        let script = Arc::<Script>::default();
        if again.swap(false, std::sync::atomic::Ordering::Relaxed) {
            script.crash_at_first();
        }
        script
    };
    let answer = bench.settle(next_life, Some(asked)).await;
    bench.script.disarm();
    let told = |what: String| format!("{what}; answered {answer:?}; {}", bench.picture());
    if !first.hit() {
        // How often an import tells how far it is depends on how fast it is; every other step comes each time.
        let paced = step.name == COMMIT && first.log().iter().any(|step| step.name == "images.import");
        assert!(paced, "{procedure}: {step} never came: {:?}", first.log());
    }
    judge::whole(&bench).await.map_err(told)?;
    judge::honest(&bench, procedure, goal, fault, &step.to_string(), &answer).map_err(told)?;
    let went_on = judge::goes_on(&mut bench, &procedure.act).await;
    went_on.map_err(|what| format!("going on: {what}; {}", bench.picture()))?;
    bench.end().await;
    Ok(())
}

/// Not every fault is one of every effect: a batch can't be committed twice, and what is never undone can't be repeated.
fn faults(step: &Step) -> impl Iterator<Item = Fault> {
    let commits = step.name == COMMIT;
    Fault::ALL.into_iter().filter(move |fault| !(commits && *fault == Fault::Doubled))
}

/// A case mostly waits, in real time, for whether something still moves: as many run at once for each test.
const AT_ONCE: usize = 4;

/// What came of some procedures.
#[derive(Default)]
struct Sum {
    tried: u32,
    cases: u32,
    failures: Vec<String>,
}

/// All cases of these procedures. Says what was tried, and every case that failed.
fn survive(procedures: Vec<Procedure>) {
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Sum::default()));
    let work = || {
        while let Some(procedure) = procedures.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = all_of(procedure);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.tried += one.tried;
            sum.cases += one.cases;
            sum.failures.extend(one.failures);
        }
    };
    // A panic in one is one of the test's.
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let Sum { tried, cases, failures } = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{tried} procedures, {cases} cases");
    assert!(tried > 0, "no procedure was tried");
    let told = failures.join("\n");
    assert!(failures.is_empty(), "{} of {cases} cases (HEARTH_STEP='…' runs one alone):\n{told}", failures.len());
}

/// All cases of one; none where the place does not admit it.
fn all_of(procedure: &Procedure) -> Sum {
    let only = std::env::var("HEARTH_STEP").ok();
    let mut sum = Sum::default();
    let Some((steps, goal)) = on_a_standing_clock(record(procedure)) else { return sum };
    sum.tried = 1;
    for step in &steps {
        for fault in faults(step) {
            let called = format!("{procedure} | {step} | {fault:?}");
            if only.as_ref().is_some_and(|only| *only != called) {
                continue;
            }
            sum.cases += 1;
            if let Err(what) = on_a_standing_clock(try_out((procedure, step, fault), &goal)) {
                sum.failures.push(format!("{called}\n    {what}"));
            }
        }
    }
    sum
}

#[test]
fn creations() {
    survive(procedure::creations());
}

#[test]
fn from_created() {
    survive(procedure::commands(Place::Created));
}

#[test]
fn from_booting() {
    survive(procedure::commands(Place::Booting));
}

#[test]
fn from_running() {
    survive(procedure::commands(Place::Running));
}

#[test]
fn from_paused() {
    survive(procedure::commands(Place::Paused));
}

#[test]
fn from_stopped() {
    survive(procedure::commands(Place::Stopped));
}

#[test]
fn from_failed() {
    survive(procedure::commands(Place::Failed));
}

#[test]
fn from_backing_off() {
    survive(procedure::commands(Place::BackingOff));
}

#[test]
fn machines_that_end_by_themselves() {
    survive(procedure::ends(Place::Running));
}

#[test]
fn machines_that_end_while_they_are_paused() {
    // What follows an end does not depend on the pause; one policy stands for all.
    let one = |procedure: &Procedure| procedure.policy == RestartPolicy::OnFailure;
    survive(procedure::ends(Place::Paused).into_iter().filter(one).collect());
}

#[test]
fn images() {
    survive(procedure::images());
}
