//! CPU templates as guests see them: what a template hides is hidden, and one that does not fit the processor is told and leaves nothing. Where no
//! template fits, as on many processors, the first says SKIPPED; the lab has a processor that one fits.

use crate::contract::{HELLO, start};
use crate::guests::skipped;
use crate::lab::Lab;
use domain::{
    Attempt,
    vm::{CpuTemplate, Inspection},
};
use host::{
    guest::GuestSession,
    vmm::{MachinePlan, Vmm, VmmError},
};
use std::collections::BTreeSet;

/// Hidden by T2 and by T2A (`cpu_config/x86_64/static_cpu_templates` of 1.16), by their names in /proc/cpuinfo.
const HIDDEN: [&str; 10] = ["avx512f", "clflushopt", "clwb", "pku", "rdpid", "sha_ni", "umip", "vaes", "xgetbv1", "xsavec"];

/// The first value of `key` there.
fn value<'a>(cpuinfo: &'a str, key: &str) -> &'a str {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.trim() == key).map_or("", |(_, value)| value.trim())
}

/// The template of those two that fits this machine's processor, by its vendor, family, model and stepping (`mod.rs` there).
fn fitting(cpuinfo: &str) -> Option<CpuTemplate> {
    match ["vendor_id", "cpu family", "model", "stepping"].map(|key| value(cpuinfo, key)) {
        ["AuthenticAMD", "25", "1", "1"] => Some(CpuTemplate::T2A),
        ["GenuineIntel", "6", "85", "4" | "7"] | ["GenuineIntel", "6", "106", "6"] => Some(CpuTemplate::T2),
        _ => None,
    }
}

/// Whole: it is longer than what other tests read.
async fn cpuinfo(guest: &dyn GuestSession) -> String {
    let argv = ["cat", "/proc/cpuinfo"].map(str::to_owned).into();
    let request = api::guest::ExecRequest { argv, ..Default::default() };
    let collected = guest.exec(request).await.unwrap().collect(1 << 16).await.unwrap();
    String::from_utf8(collected.stdout).unwrap()
}

fn hidden(cpuinfo: &str) -> BTreeSet<&str> {
    value(cpuinfo, "flags").split(' ').filter(|flag| HIDDEN.contains(flag)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_hides_from_the_guest_what_one_without_it_has() {
    let test = "a_template_hides_from_the_guest_what_one_without_it_has";
    let Some(lab) = Lab::open(test).await else { return };
    let here = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let Some(template) = fitting(&here) else {
        let which = ["vendor_id", "cpu family", "model", "stepping"].map(|key| value(&here, key)).join(" ");
        return skipped(test, &format!("no template fits this processor: {which}"));
    };
    let driver = lab.driver().await;
    assert!(driver.capabilities().cpu_templates);
    let mut seen = Vec::new();
    for (launch, cpu_template) in [(1, None), (2, Some(template)), (3, None)] {
        let machine = start(&driver, &MachinePlan { cpu_template, ..lab.plan() }, launch).await;
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        seen.push(cpuinfo(&*guest).await);
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.clean(lab.vm).await.unwrap();
    }
    let [before, with, after] = [0, 1, 2].map(|place: usize| hidden(&seen[place]));
    eprintln!("{template:?}: {before:?} without it, {with:?} with it");
    assert!(!before.is_empty(), "there is nothing to hide: {}", value(&seen[0], "flags"));
    assert_eq!(with, BTreeSet::new());
    assert_eq!(after, before, "it is off again");
    // Both make the processor a Haswell of the vendor's own.
    let model = |at: usize| ["cpu family", "model", "stepping"].map(|key| value(&seen[at], key));
    assert_eq!(model(1), ["6", "63", "2"]);
    assert_ne!(model(0), model(1));
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_does_not_fit_the_processor_is_told_and_leaves_nothing() {
    let Some(lab) = Lab::open("a_template_that_does_not_fit_the_processor_is_told_and_leaves_nothing").await else { return };
    let driver = lab.driver().await;
    let here = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    // Another vendor's, and another architecture's, which Firecracker does not even know here.
    let other = if value(&here, "vendor_id") == "GenuineIntel" { CpuTemplate::T2A } else { CpuTemplate::T2 };
    for (launch, template) in [(1, other), (2, CpuTemplate::V1N1)] {
        let plan = MachinePlan { cpu_template: Some(template), ..lab.plan() };
        driver.prepare_disk(&plan.disk).await.unwrap();
        let machine = driver.launch(&plan, Attempt(launch)).await.unwrap();
        let error = driver.release(lab.vm, &machine).await.expect_err("it does not fit");
        eprintln!("{template:?}: {error}");
        assert!(matches!(error, VmmError::Refused { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("the CPU template does not fit this host's processor") && !told.contains('\n'), "{told}");
        assert!(matches!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Gone { .. }));
        assert_eq!(lab.processes(), Vec::<u32>::new(), "it would wait for another configuration forever");
        driver.clean(lab.vm).await.unwrap();
    }
    // Without it the same VM starts.
    let machine = start(&driver, &lab.plan(), 3).await;
    driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}
