//! What is known of a VM from outside its guest: its driver's word for the VMM, and the network's for the interface.

use super::facade::{Node, not_found, vmm_error};
use crate::error::CommandError;
use domain::{
    VmId,
    event::Kind,
    vm::{self, Drive},
};
use host::{
    net::Traffic,
    vmm::outside::{DriveUse, Dropped, InterfaceUse, Outside},
};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A driver waits two seconds at most for a VMM, then it tells what it has; longer than this it hangs itself.
const LOOK_WITHIN: Duration = Duration::from_secs(4);
/// The VM's disk, and its cloud-init seed.
const OWN: [&str; 2] = ["root", "seed"];

impl Node {
    /// Refused when the VM does not run. Within seconds, whatever the VMM does.
    pub async fn outside(&self, id: VmId) -> Result<Outside, CommandError> {
        let row = self.shared.view.vm(id).ok_or_else(|| not_found(Kind::Vm, id.to_string()))?;
        let Some(machine) = row.record.state.machine() else {
            return Err(CommandError::Vm(vm::actions::Refused::NotRunning));
        };
        let until = Instant::now() + LOOK_WITHIN;
        let told = timeout_at(until, self.shared.vmm.outside(id, machine)).await.map_err(|_| CommandError::Busy)?;
        let mut outside = told.map_err(vmm_error)?;
        named(&mut outside.drives, row.record.spec.devices.drives.all());
        if let Some(network) = &self.shared.network {
            for (place, nic) in row.record.nics.iter().enumerate() {
                let name = interface(place);
                match timeout_at(until, network.traffic(&nic.tap)).await {
                    Ok(Ok(Some(traffic))) => seen_by_the_kernel(&mut outside.interfaces, &name, &traffic),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => outside.missing.push(format!("the drops of {name}: {error}")),
                    Err(_) => outside.missing.push(format!("the drops of {name}: the kernel did not answer in time")),
                }
            }
        }
        Ok(outside)
    }
}

/// Drivers tell a data drive by its number, and whoever made it by its name. One that goes by a name of hearth's own drives keeps the number.
/// In the order in which the guest has them.
fn named(told: &mut [DriveUse], drives: &[Drive]) {
    let place = |told: &DriveUse| {
        let number = ["drive-", "drive_"].iter().find_map(|word| told.name.strip_prefix(word)).and_then(|rest| rest.parse().ok());
        number.and_then(|number: u32| drives.iter().position(|drive| drive.number == number))
    };
    let own = |told: &DriveUse| OWN.iter().position(|own| *own == told.name);
    // Its own drives first; what nobody knows last.
    told.sort_by_cached_key(|told| match (own(told), place(told)) {
        (Some(own), _) => own,
        (None, Some(place)) => OWN.len() + place,
        (None, None) => usize::MAX,
    });
    for told in told {
        let drive = place(told).and_then(|place| drives.get(place));
        if let Some(name) = drive.map(|drive| drive.name.to_string()).filter(|name| !OWN.contains(&name.as_str())) {
            told.name = name;
        }
    }
}

/// What a guest calls its interfaces, and drivers with it, by their places.
fn interface(place: usize) -> String {
    format!("eth{place}")
}

/// A VMM that counts by itself counts what went through it; dropped is only what the kernel dropped before it.
fn seen_by_the_kernel(interfaces: &mut Vec<InterfaceUse>, name: &str, traffic: &Traffic) {
    if interfaces.iter().all(|interface| interface.name != name) {
        interfaces.push(InterfaceUse {
            name: name.to_owned(),
            received_bytes: traffic.received_bytes,
            received_packets: traffic.received_packets,
            sent_bytes: traffic.sent_bytes,
            sent_packets: traffic.sent_packets,
            ..InterfaceUse::default()
        });
    }
    if let Some(interface) = interfaces.iter_mut().find(|interface| interface.name == name) {
        interface.dropped = Some(Dropped { received: traffic.received_dropped, sent: traffic.sent_dropped });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_drives_go_by_their_names_in_the_guests_order() {
        let drive = |name: &str, number| Drive { name: name.parse().unwrap(), size_mib: 1, read_only: false, number };
        let drives = [drive("logs", 3), drive("root", 4)];
        let mut told = ["drive-4", "drive-9", "drive_3", "drive-x", "seed", "root"]
            .map(|name| DriveUse { name: name.into(), ..DriveUse::default() });
        named(&mut told, &drives);
        assert_eq!(told.map(|drive| drive.name), ["root", "seed", "logs", "drive-4", "drive-9", "drive-x"]);
    }

    #[test]
    fn the_kernel_counts_where_the_vmm_does_not() {
        let traffic = Traffic { received_bytes: 7, received_dropped: 1, sent_packets: 3, sent_dropped: 2, ..Traffic::default() };
        let mut none = Vec::new();
        seen_by_the_kernel(&mut none, "eth0", &traffic);
        assert_eq!((none[0].received_bytes, none[0].sent_packets), (7, 3));
        let counted = |name: &str, received_bytes| InterfaceUse { name: name.into(), received_bytes, ..InterfaceUse::default() };
        let mut own = vec![counted("eth0", 5), counted("eth1", 6)];
        seen_by_the_kernel(&mut own, "eth1", &traffic);
        assert_eq!((own.len(), own[0].dropped, own[1].received_bytes), (2, None, 6));
        assert_eq!(own[1].dropped, Some(Dropped { received: 1, sent: 2 }));
    }
}
