//! Network interfaces of a simulated machine.

use crate::{machine::Machine, ports::as_fate_has_it};
use async_trait::async_trait;
use domain::{VmId, invariant::Deed};
use host::net::NetError;
use std::net::Ipv4Addr;

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

    async fn bind(&self, tap: &str, _: Ipv4Addr, _: [u8; 6]) -> Result<(), NetError> {
        let there = || self.0.state().taps.contains_key(tap);
        match as_fate_has_it(self.0.fate(), there).await {
            Some(true) => Ok(()),
            Some(false) | None => Err(failed(tap)),
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
