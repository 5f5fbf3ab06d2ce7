//! Random inputs to an image and to a host: a generation for every change and none without, every operation ends once, late answers
//! change nothing, and an image comes to rest.

use domain::{
    Attempt, HostId, ImageId, Labels, Name, OperationId, Timestamp,
    host::{self, Capabilities, Facts, VmmFacts},
    image::{self, Files, Finished, Image, ImageKind, ImageSpec},
    operation::{Amount, Change, Input as OperationInput},
    vm::Driver,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn name() -> Name {
    "a".parse().expect("a name")
}

/// An image with the operations that are under way.
struct Gallery {
    image: Option<Image>,
    open: BTreeSet<OperationId>,
    cancelled: BTreeSet<OperationId>,
    begun: u128,
}

impl Gallery {
    fn new() -> Gallery {
        let spec = ImageSpec { kind: ImageKind::Kernel, path: "/a".into(), initrd: None, default: false, description: None };
        let draft = image::Draft { id: ImageId::from_bits(1), name: name(), project: name(), labels: Labels::new(), spec };
        let mut gallery = Gallery { image: None, open: BTreeSet::new(), cancelled: BTreeSet::new(), begun: 1 };
        gallery.take(image::create(draft, ticket(1), Timestamp(1)));
        gallery
    }

    fn take(&mut self, step: image::Step) {
        for change in step.operations {
            match change {
                Change::Begin { id, .. } => {
                    assert!(self.open.insert(id));
                    self.begun += 1;
                }
                Change::Apply { id, input: OperationInput::Advance { .. } | OperationInput::Measure { .. } } => {
                    assert!(self.open.contains(&id));
                }
                Change::Apply { id, input: OperationInput::Cancel } => {
                    assert!(self.cancelled.contains(&id) && self.open.remove(&id), "cancelled by nobody, or ended twice");
                }
                Change::Apply { id, input: OperationInput::Succeed } => {
                    assert!(!self.cancelled.contains(&id) && self.open.remove(&id), "it was cancelled, or ended twice");
                }
                Change::Apply { id, .. } => assert!(self.open.remove(&id), "ended twice"),
            }
        }
        if let Some(image) = &step.next {
            image::invariant::check(image).expect("the invariants hold");
        }
        let in_flight: BTreeSet<_> = step.next.iter().filter_map(|image| image.operation).collect();
        assert_eq!(self.open, in_flight);
        self.image = step.next;
    }

    fn input(&mut self, input: image::Input) {
        let Some(before) = self.image.clone() else { return };
        let stale = matches!(&input, image::Input::Finished { attempt, .. } if *attempt != before.attempt);
        if let image::Input::Command { command: image::Command::Cancel { operation }, .. } = &input
            && image::cancellable(&before, *operation).is_ok()
        {
            self.cancelled.insert(*operation);
        }
        let Ok(step) = image::step(&before, input, Timestamp(2)) else { return };
        if let Some(next) = &step.next {
            if *next == before {
                assert!(step.events.is_empty() && step.effects.is_empty());
            } else {
                assert!(!stale, "a late answer counts");
                assert_eq!(next.generation, before.generation.next());
            }
        }
        self.take(step);
    }
}

fn ticket(operation: u128) -> image::Ticket {
    image::Ticket { operation: OperationId::from_bits(operation), actor: "user:admin".into() }
}

fn files() -> Files {
    Files { digest: "sha256:0".into(), size_bytes: 1, initrd_digest: None, initrd_size_bytes: 0 }
}

fn result() -> impl Strategy<Value = Finished> {
    let detail = || "seen".to_owned();
    prop_oneof![
        Just(Finished::Imported(files())),
        Just(Finished::ImportFailed { code: "disk-full".into(), detail: detail() }),
        Just(Finished::Removed),
        Just(Finished::RemoveFailed { detail: detail() }),
    ]
}

fn facts() -> impl Strategy<Value = Facts> {
    (any::<bool>(), any::<bool>(), 0..3u64).prop_map(|(network, problem, mem)| Facts {
        hostname: "h".into(),
        kernel: "6".into(),
        architecture: "x86_64".into(),
        cpu_model: "c".into(),
        cpus: 2,
        mem_mib: 1000 + mem,
        vm_vcpus: 2,
        vm_mem_mib: 800,
        hearth_version: "0".into(),
        vmm: VmmFacts { driver: Driver::Qemu, version: "7".into(), acceleration: "tcg".into(), chosen_because: "test".into() },
        network_problem: network.then(|| "no bridge".to_owned()),
        problems: problem.then(|| "no cgroups".to_owned()).into_iter().collect(),
        capabilities: Capabilities { pause: mem == 1, ..Capabilities::NONE },
    })
}

fn host_input() -> impl Strategy<Value = host::Input> {
    let command = |command| host::Input::Command { command, ticket: host::Ticket { actor: "user:admin".into() } };
    prop_oneof![
        Just(command(host::Command::Cordon)),
        Just(command(host::Command::Uncordon)),
        Just(command(host::Command::Update { labels: Some(Labels::new()) })),
        facts().prop_map(|facts| host::Input::Observed(host::Observed::Heartbeat(Box::new(facts)))),
        Just(host::Input::Observed(host::Observed::Silent)),
        Just(host::Input::Recovered),
    ]
}

proptest! {
    // A file of its own would only ever hold what the table beside the machine shows too.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_image_comes_to_rest(moves in prop::collection::vec((0..6u8, 0..3u64, 0..2u32, result()), 1..40)) {
        let mut gallery = Gallery::new();
        for (kind, behind, users, result) in moves {
            let Some(attempt) = gallery.image.as_ref().map(|image| image.attempt) else { break };
            let command = match kind {
                0 => image::Command::Delete { users },
                1 => image::Command::Update { name: None, labels: None, default: Some(users > 0), description: None },
                4 => image::Command::Cancel { operation: gallery.image.as_ref().and_then(|image| image.operation).unwrap_or(OperationId::from_bits(1)) },
                5 => {
                    let amount = Amount { done_bytes: behind.min(2), total_bytes: 2 };
                    gallery.input(image::Input::Progressed { attempt: Attempt(attempt.0.saturating_sub(behind)), amount });
                    continue;
                }
                2 => {
                    gallery.input(image::Input::Recovered);
                    continue;
                }
                _ => {
                    gallery.input(image::Input::Finished { attempt: Attempt(attempt.0.saturating_sub(behind)), result });
                    continue;
                }
            };
            let ticket = ticket(gallery.begun);
            gallery.input(image::Input::Command { command, ticket });
        }
        for result in [Finished::Imported(files()), Finished::Removed] {
            if let Some(attempt) = gallery.image.as_ref().map(|image| image.attempt) {
                gallery.input(image::Input::Finished { attempt, result });
            }
        }
        prop_assert!(gallery.open.is_empty(), "never ended: {:?}", gallery.image);
    }

    #[test]
    fn a_host_changes_only_with_news(first in facts(), inputs in prop::collection::vec(host_input(), 1..40)) {
        let mut host = host::register(HostId::from_bits(1), name(), first, Timestamp(1)).next;
        for input in inputs {
            let Ok(step) = host::step(&host, input.clone(), Timestamp(2)) else { continue };
            host::invariant::check(&step.next).expect("the invariants hold");
            if step.next == host {
                prop_assert!(step.events.is_empty(), "news of nothing: {input:?}");
            } else {
                prop_assert_eq!(step.next.generation, host.generation.next());
                prop_assert_eq!(step.events.len(), 1);
            }
            host = step.next;
        }
    }
}
