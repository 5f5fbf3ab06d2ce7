//! The network of a machine that can have none: it says why, and has nothing to clean up.

use super::{NetError, Network};
use async_trait::async_trait;
use domain::VmId;

/// Stands in where [`super::detect`] failed, so that VMs without a network still run.
#[derive(Debug, Clone)]
pub struct NoNetwork {
    /// Why there is none; what the failed detection said.
    pub reason: String,
}

impl NoNetwork {
    fn refuse(&self) -> NetError {
        NetError::NotPermitted { detail: self.reason.clone() }
    }
}

#[async_trait]
impl Network for NoNetwork {
    async fn ensure(&self) -> Result<(), NetError> {
        Err(self.refuse())
    }

    async fn attach(&self, _vm: VmId, _tap: &str) -> Result<(), NetError> {
        Err(self.refuse())
    }

    async fn detach(&self, _tap: &str) -> Result<(), NetError> {
        Ok(())
    }

    async fn sweep(&self, _known: &[String]) -> Result<Vec<String>, NetError> {
        Ok(Vec::new())
    }

    async fn tear_down(&self) -> Result<(), NetError> {
        Ok(())
    }
}
