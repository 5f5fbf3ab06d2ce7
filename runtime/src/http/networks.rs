//! Network interfaces, between the API's words and the domain's.

use super::{command::unprocessable, problem::Answer};
use api::v1;
use domain::vm::{BadMac, Interface, Mac, NetworksChange, Vm, nic::NETWORKS_MAX};

const FIELD: &str = "spec.networks";

pub fn told(interfaces: &[Interface]) -> Vec<v1::Interface> {
    let one = |interface: &Interface| v1::Interface {
        network: interface.network.clone(),
        mac: interface.mac.map(|mac| mac.to_string()),
    };
    interfaces.iter().map(one).collect()
}

/// What the VM has of what it asks for.
pub fn given(record: &Vm) -> Vec<v1::InterfaceStatus> {
    let one = |(asked, nic): (&Interface, &domain::vm::Nic)| v1::InterfaceStatus {
        network: asked.network.clone(),
        address: nic.address.to_string(),
        mac: super::convert::mac(nic.mac),
    };
    record.spec.networks.iter().zip(&record.nics).map(one).collect()
}

/// Errors: more than there may be; a MAC that is none.
pub fn asked(interfaces: Vec<v1::Interface>) -> Answer<Vec<Interface>> {
    if interfaces.len() > NETWORKS_MAX {
        let detail = format!("must not be more than {NETWORKS_MAX}, not {}", interfaces.len());
        return Err(unprocessable("invalid-spec", FIELD, &detail));
    }
    interfaces.into_iter().enumerate().map(one).collect()
}

/// As [`asked`]. Of none a VM has none from then on, which is not the same as to ask for nothing.
pub fn changed(interfaces: Option<Vec<v1::Interface>>) -> Answer<Option<Box<NetworksChange>>> {
    let wanted = interfaces.map(asked).transpose()?;
    Ok(wanted.map(|wanted| Box::new(NetworksChange::to(wanted))))
}

fn one((place, v1::Interface { network, mac }): (usize, v1::Interface)) -> Answer<Interface> {
    let read = |text: String| text.parse::<Mac>().map_err(|why: BadMac| (text, why));
    match mac.map(read).transpose() {
        Ok(mac) => Ok(Interface { network, mac }),
        Err((text, why)) => Err(unprocessable("invalid-spec", &format!("{FIELD}[{place}].mac"), &format!("{text:?}: {why}"))),
    }
}
