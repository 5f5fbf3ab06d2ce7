//! What is known of a VM from outside its guest: its driver's word for the VMM, and the network's for the interface.

use super::facade::{Node, not_found, vmm_error};
use crate::{error::CommandError, vm::supervisor::tap_of};
use domain::{VmId, event::Kind, vm};
use host::{
    net::Traffic,
    vmm::outside::{Dropped, InterfaceUse, Outside},
};
use std::time::Duration;

/// A driver waits two seconds at most for a VMM, then it tells what it has; longer than this it hangs itself.
const LOOK_WITHIN: Duration = Duration::from_secs(4);
/// What a guest calls its only interface.
const INTERFACE: &str = "eth0";

impl Node {
    /// Refused when the VM does not run. Within seconds, whatever the VMM does.
    pub async fn outside(&self, id: VmId) -> Result<Outside, CommandError> {
        let row = self.shared.view.vm(id).ok_or_else(|| not_found(Kind::Vm, id.to_string()))?;
        let Some(machine) = row.record.state.machine() else {
            return Err(CommandError::Vm(vm::actions::Refused::NotRunning));
        };
        let look = async {
            let mut outside = self.shared.vmm.outside(id, machine).await.map_err(vmm_error)?;
            if let Some(network) = &self.shared.network {
                match network.traffic(&tap_of(id)).await {
                    Ok(Some(traffic)) => seen_by_the_kernel(&mut outside.interfaces, &traffic),
                    Ok(None) => {}
                    Err(error) => outside.missing.push(format!("the interface's drops: {error}")),
                }
            }
            Ok(outside)
        };
        tokio::time::timeout(LOOK_WITHIN, look).await.unwrap_or(Err(CommandError::Busy))
    }
}

/// A VMM that counts by itself counts what went through it; dropped is only what the kernel dropped before it.
fn seen_by_the_kernel(interfaces: &mut Vec<InterfaceUse>, traffic: &Traffic) {
    if interfaces.is_empty() {
        interfaces.push(InterfaceUse {
            name: INTERFACE.into(),
            received_bytes: traffic.received_bytes,
            received_packets: traffic.received_packets,
            sent_bytes: traffic.sent_bytes,
            sent_packets: traffic.sent_packets,
            ..InterfaceUse::default()
        });
    }
    if let [interface] = interfaces.as_mut_slice() {
        interface.dropped = Some(Dropped { received: traffic.received_dropped, sent: traffic.sent_dropped });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_where_the_vmm_does_not() {
        let traffic = Traffic { received_bytes: 7, received_dropped: 1, sent_packets: 3, sent_dropped: 2, ..Traffic::default() };
        let mut none = Vec::new();
        seen_by_the_kernel(&mut none, &traffic);
        assert_eq!((none[0].received_bytes, none[0].sent_packets), (7, 3));
        let mut own = vec![InterfaceUse { name: "net".into(), received_bytes: 5, ..InterfaceUse::default() }];
        seen_by_the_kernel(&mut own, &traffic);
        assert_eq!((own.len(), own[0].received_bytes, own[0].dropped), (1, 5, Some(Dropped { received: 1, sent: 2 })));
    }
}
