//! Network interfaces of a simulated machine.

use crate::{machine::Machine, ports::as_fate_has_it};
use async_trait::async_trait;
use domain::{VmId, invariant::Deed};
use host::net::{Interface, NetError};

pub struct Network(pub Machine);

fn failed(tap: &str) -> NetError {
    NetError::Tap { tap: tap.to_owned(), detail: "a simulated failure".to_owned() }
}

#[async_trait]
impl host::net::Network for Network {
    async fn ensure(&self) -> Result<(), NetError> {
        Ok(())
    }

    async fn attach(&self, vm: VmId, tap: &str) -> Result<(), NetError> {
        let deed = || {
            self.0.judge(vm, Deed::Attach(tap));
            self.0.tell(format_args!("attach {tap} for {vm}"));
            let other = self.0.state().taps.insert(tap.to_owned(), vm).filter(|other| *other != vm);
            if let Some(other) = other {
                self.0.state().broken.push(format!("the interface {tap} is given to {vm} while {other} has it"));
            }
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed(tap))
    }

    async fn bind(&self, vm: VmId, interfaces: &[Interface]) -> Result<(), NetError> {
        let absent = || interfaces.iter().find(|interface| self.0.state().taps.get(&interface.tap) != Some(&vm));
        match as_fate_has_it(self.0.fate(), absent).await {
            Some(None) => Ok(()),
            Some(Some(interface)) => Err(failed(&interface.tap)),
            None => Err(failed("of the VM")),
        }
    }

    async fn detach(&self, tap: &str) -> Result<(), NetError> {
        let deed = || {
            let removed = self.0.state().taps.remove(tap);
            self.0.tell(format_args!("detach {tap}: {removed:?}"));
        };
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed(tap))
    }

    async fn sweep(&self, known: &[String]) -> Result<Vec<String>, NetError> {
        let unknown: Vec<(String, VmId)> =
            self.0.state().taps.iter().filter(|(tap, _)| !known.contains(tap)).map(|(tap, vm)| (tap.clone(), *vm)).collect();
        for (tap, vm) in &unknown {
            self.0.judge(*vm, Deed::Sweep);
            self.0.state().taps.remove(tap);
            self.0.tell(format_args!("sweep {tap} of {vm}"));
        }
        Ok(unknown.into_iter().map(|(tap, _)| tap).collect())
    }

    async fn tear_down(&self) -> Result<(), NetError> {
        Ok(())
    }
}
