//! What must hold between records at rest: each record's own invariant, that what a record names is there, and that nothing is given
//! twice. Pure; `hearth fsck` reads the records and says what was found.

use crate::{
    HostId, ImageId, Name, OperationId, Timestamp,
    event::Kind,
    host::{self, Host},
    idempotency,
    image::{self, Image},
    operation::{self, Operation},
    vm::{self, Mac, Vm},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
};

/// All records of a node.
#[derive(Debug, Clone, Default)]
pub struct Records {
    pub vms: Vec<Vm>,
    pub images: Vec<Image>,
    pub hosts: Vec<Host>,
    pub operations: Vec<Operation>,
}

/// Something that should not be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable, kebab-case.
    pub code: &'static str,
    /// The id of the record.
    pub subject: String,
    pub detail: String,
    /// What mends it; absent: nobody but its user can tell what is right.
    pub remedy: Option<&'static str>,
}

/// Findings of operations: the next start ends them with the reason `interrupted`.
const STARTS: Option<&str> = Some("the next start of hearth ends it");

pub fn check(records: &Records) -> Vec<Finding> {
    let mut findings = Findings::default();
    let images: BTreeSet<ImageId> = records.images.iter().map(|image| image.id).collect();
    let hosts: BTreeSet<HostId> = records.hosts.iter().map(|host| host.id).collect();
    let operations: HashMap<OperationId, &Operation> = records.operations.iter().map(|one| (one.id, one)).collect();
    for vm in &records.vms {
        findings.broken(vm.id, vm::invariant::check(vm));
        for (what, image) in [("kernel", vm.boot.kernel), ("image", vm.boot.rootfs)] {
            if !images.contains(&image) {
                findings.add("missing-image", vm.id, format!("its {what} {image} has no record: it can't start"));
            }
        }
        if !hosts.contains(&vm.host) {
            findings.add("missing-host", vm.id, format!("its host {} has no record", vm.host));
        }
        findings.in_flight(vm.id, vm.operation.map(|operation| operation.id), &operations);
    }
    for image in &records.images {
        findings.broken(image.id, image::invariant::check(image));
        findings.in_flight(image.id, image.operation, &operations);
    }
    for host in &records.hosts {
        findings.broken(host.id, host::invariant::check(host));
    }
    let named: BTreeSet<OperationId> = records
        .vms
        .iter()
        .filter_map(|vm| Some(vm.operation?.id))
        .chain(records.images.iter().filter_map(|image| image.operation))
        .collect();
    for operation in &records.operations {
        findings.broken(operation.id, operation::invariant::check(operation));
        let kept_by_none = matches!(operation.target.kind, Kind::Vm | Kind::Image) && !named.contains(&operation.id);
        if !operation.status.is_final() && kept_by_none {
            findings.remedied("orphan-operation", operation.id, "it runs and no record works on it".to_owned(), STARTS);
        }
    }
    twice(records, &mut findings);
    findings.0
}

/// Keys that no sweep would ever find, and the entries that they lack. While the index is not complete, the next start makes it.
pub fn unswept<'a>(keys: impl IntoIterator<Item = (&'a str, Timestamp)>, entries: &BTreeSet<&str>) -> Vec<(Finding, String)> {
    if !entries.contains(idempotency::COMPLETE) {
        return Vec::new();
    }
    let lacking = keys.into_iter().map(|(key, at)| (key, idempotency::entry(at, key)));
    let lacking = lacking.filter(|(_, entry)| !entries.contains(entry.as_str()));
    let finding = |key: &str| Finding {
        code: "unswept-key",
        subject: format!("idempotency/{key}"),
        detail: "the index by time does not name it: it would be kept for ever".to_owned(),
        remedy: Some("--repair gives it its entry"),
    };
    lacking.map(|(key, entry)| (finding(key), entry)).collect()
}

/// Names, addresses, devices.
fn twice(records: &Records, findings: &mut Findings) {
    let vm_names = records.vms.iter().map(|vm| (scoped(&vm.project, &vm.name), vm.id));
    findings.unique("duplicate-name", "the name of a VM", vm_names);
    findings.unique(
        "duplicate-name",
        "the name of an image",
        records.images.iter().map(|one| (scoped(&one.project, &one.name), one.id)),
    );
    findings.unique("duplicate-name", "the name of a host", records.hosts.iter().map(|host| (host.name.to_string(), host.id)));
    let nics: Vec<_> = records.vms.iter().flat_map(|vm| vm.nics.iter().map(|nic| (nic, vm.id))).collect();
    findings.unique("duplicate-address", "the address", nics.iter().map(|(nic, id)| (nic.address.to_string(), *id)));
    findings.unique("duplicate-mac", "the MAC", nics.iter().map(|(nic, id)| (Mac::of(nic).to_string(), *id)));
    findings.unique("duplicate-tap", "the TAP device", nics.iter().map(|(nic, id)| (nic.tap.clone(), *id)));
}

fn scoped(project: &Name, name: &Name) -> String {
    format!("{project}/{name}")
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: &'static str, subject: impl Display, detail: String) {
        self.remedied(code, subject, detail, None);
    }

    fn remedied(&mut self, code: &'static str, subject: impl Display, detail: String, remedy: Option<&'static str>) {
        self.0.push(Finding { code, subject: subject.to_string(), detail, remedy });
    }

    fn broken(&mut self, subject: impl Display, checked: Result<(), impl Display>) {
        if let Err(broken) = checked {
            self.add("broken-invariant", subject, broken.to_string());
        }
    }

    /// What a record says that it works on is there and runs.
    fn in_flight(&mut self, subject: impl Display, operation: Option<OperationId>, all: &HashMap<OperationId, &Operation>) {
        let Some(id) = operation else { return };
        match all.get(&id) {
            None => self.add("missing-operation", subject, format!("it works on {id}, of which there is no record")),
            Some(operation) if operation.status.is_final() => {
                self.add("ended-operation", subject, format!("it works on {id}, which has {}", operation.status.as_str()));
            }
            Some(_) => {}
        }
    }

    fn unique<I: Display>(&mut self, code: &'static str, what: &str, all: impl Iterator<Item = (String, I)>) {
        let mut owners: BTreeMap<String, Vec<I>> = BTreeMap::new();
        for (value, owner) in all {
            owners.entry(value).or_default().push(owner);
        }
        for (value, owners) in owners {
            for owner in owners.iter().skip(1) {
                self.add(code, owner, format!("{what} {value} is {}'s", owners[0]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Attempt, Generation, Labels, Timestamp, VmId,
        operation::{OperationKind, Target},
        vm::{BootImages, InFlight, MachineMemory, Nic, RestartPolicy, Restarts, State, VmSpec},
    };
    use std::net::Ipv4Addr;

    fn vm(bits: u128, name: &str) -> Vm {
        let text = |text: &str| text.parse::<Name>().unwrap();
        Vm {
            id: VmId::from_bits(bits),
            name: text(name),
            project: text("default"),
            labels: Labels::new(),
            generation: Generation(1),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            spec: VmSpec {
                host: None,
                vcpus: 1,
                mem_mib: 128,
                kernel: None,
                image: "i".into(),
                disk_mib: None,
                cmdline: None,
                networks: vec!["default".into()],
                restart: RestartPolicy::Never,
                devices: crate::vm::Devices::default(),
            },
            boot: BootImages { kernel: ImageId::from_bits(1), rootfs: ImageId::from_bits(1) },
            host: HostId::from_bits(1),
            nics: vec![Nic {
                address: Ipv4Addr::new(10, 0, 0, bits as u8),
                prefix: 16,
                gateway: Ipv4Addr::new(10, 0, 0, 1),
                mac: [2, 0, 0, 0, 0, bits as u8],
                tap: format!("t{bits}"),
            }],
            network_note: None,
            state: State::Stopped,
            attempt: Attempt(1),
            operation: None,
            restarts: Restarts::default(),
            reason: None,
            retuned: false,
            memory: MachineMemory::default(),
        }
    }

    fn codes(records: &Records) -> Vec<&'static str> {
        let references = ["missing-image", "missing-host"];
        check(records).into_iter().map(|finding| finding.code).filter(|code| !references.contains(code)).collect()
    }

    #[test]
    fn what_is_given_twice_is_found() {
        let (one, mut two) = (vm(2, "a"), vm(3, "b"));
        let sound = Records { vms: vec![one.clone(), two.clone()], ..Records::default() };
        assert_eq!(codes(&sound), [""; 0]);
        two.name = one.name.clone();
        two.nics = one.nics.clone();
        let all = ["duplicate-name", "duplicate-address", "duplicate-mac", "duplicate-tap"];
        assert_eq!(codes(&Records { vms: vec![one.clone(), two.clone()], ..Records::default() }), all);
        // A name is unique in its project only.
        two.project = "other".parse().unwrap();
        (two.nics, two.network_note) = (Vec::new(), Some("no bridge".into()));
        assert_eq!(codes(&Records { vms: vec![one, two], ..Records::default() }), [""; 0]);
    }

    #[test]
    fn a_key_that_no_sweep_would_find_is_found_once_the_index_is_complete() {
        let keys = [("a", Timestamp(0)), ("b", Timestamp(7))];
        let (a, b) = (idempotency::entry(Timestamp(0), "a"), idempotency::entry(Timestamp(7), "b"));
        let unswept = |entries: &[&str]| -> Vec<String> {
            super::unswept(keys, &entries.iter().copied().collect()).into_iter().map(|(_, entry)| entry).collect()
        };
        assert_eq!(unswept(&[a.as_str()]), [""; 0], "the next start makes the index");
        assert_eq!(unswept(&[a.as_str(), idempotency::COMPLETE]), [b.as_str()]);
        assert_eq!(unswept(&[a.as_str(), b.as_str(), "00000000999/gone", idempotency::COMPLETE]), [""; 0]);
    }

    #[test]
    fn what_is_named_and_not_there_is_found() {
        let mut one = vm(2, "a");
        let found: Vec<_> =
            check(&Records { vms: vec![one.clone()], ..Records::default() }).into_iter().map(|one| one.code).collect();
        assert_eq!(found, ["missing-image", "missing-image", "missing-host"]);
        one.state = State::Deleting;
        one.operation = Some(InFlight { id: OperationId::from_bits(5), kind: OperationKind::VmDelete });
        assert_eq!(codes(&Records { vms: vec![one.clone()], ..Records::default() }), ["missing-operation"]);
        let target = Target { kind: Kind::Vm, id: one.id.to_string(), name: one.name.clone() };
        let begin = |bits| {
            let target = target.clone();
            operation::begin(
                OperationId::from_bits(bits),
                OperationKind::VmDelete,
                target,
                one.project.clone(),
                "a".into(),
                Timestamp(0),
            )
        };
        let mut records = Records { vms: vec![one.clone()], operations: vec![begin(5), begin(6)], ..Records::default() };
        assert_eq!(codes(&records), ["orphan-operation"]);
        records.vms[0].state = State::Stopped;
        assert_eq!(codes(&records), ["broken-invariant", "orphan-operation"]);
    }
}
