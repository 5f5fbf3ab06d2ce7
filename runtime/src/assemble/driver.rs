//! Making the driver that is asked for, or that `auto` chooses; trying KVM and Firecracker on the way, once in a boot of the host.

use super::{
    AssembleError, Wanted,
    choose::{self, Firecracker, choose},
    firecracker::{self, Jail},
    kept,
};
use actors::error::chain;
use domain::vm::Driver;
use host::{
    image::{FileStore, ImageStore},
    vmm::{
        Vmm,
        firecracker::programs::{Programs, ProgramsError},
        qemu::{KvmVerdict, Qemu, QemuOptions, UserChoice},
    },
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::{Journal, schema};

/// Where drivers are made.
pub(super) struct Place<'a> {
    pub journal: &'a Journal,
    pub wanted: &'a Wanted,
    pub owner: &'a str,
    pub images: &'a Arc<FileStore>,
}

impl Place<'_> {
    /// A kernel to try KVM with.
    fn kernel(&self) -> Option<PathBuf> {
        stored_kernel(self.journal, self.images.as_ref()).or_else(|| self.wanted.kernel.clone())
    }

    /// The driver that a guest boots with, and why this one. `disks`: whose the VMs have that are there already.
    pub async fn auto(
        &self,
        found: Option<Result<Programs, ProgramsError>>,
        disks: &BTreeSet<Driver>,
    ) -> Result<(Arc<dyn Vmm>, Option<String>), AssembleError> {
        let found = found.unwrap_or(Err(ProgramsError::NoFirecracker));
        let (of_qemu, of_firecracker) = (disks.contains(&Driver::Qemu), disks.contains(&Driver::Firecracker));
        let tried = match &found {
            _ if of_qemu => Firecracker::Not("the VMs of this data directory have QEMU's disks".to_owned()),
            Ok(programs) => self.try_firecracker(programs).await,
            Err(error) => Firecracker::Not(error.to_string()),
        };
        let tried = match tried {
            // One slow try must not keep VMs from being looked after whose disks nobody else reads: what does not work shows when they start.
            Firecracker::Not(why) if of_firecracker && !of_qemu && found.is_ok() => {
                Firecracker::Boots(format!("the VMs of this data directory have its disks, although: {why}"))
            }
            tried => tried,
        };
        let (driver, tried) = match (tried, &found) {
            (Firecracker::Boots(because), Ok(programs)) => match self.firecracker(programs).await {
                Ok(driver) => (Some(driver), Firecracker::Boots(because)),
                Err(error) => (None, Firecracker::Not(chain(&error))),
            },
            (tried, _) => (None, tried),
        };
        if let (Some(driver), Ok((_, because))) = (driver, choose(&tried, None)) {
            return Ok((driver, Some(because)));
        }
        if let (Firecracker::Not(why), true) = (&tried, of_firecracker && !of_qemu) {
            let why = format!("the VMs of this data directory have Firecracker's disks, and it can't run them: {why}");
            return Err(AssembleError::NoVmm { why });
        }
        let qemu = self.qemu().await;
        let known = match &qemu {
            Ok(qemu) => choose::Qemu::There { because: qemu.facts().chosen_because },
            Err(error) => choose::Qemu::Not(chain(error)),
        };
        let (_, because) = choose(&tried, Some(&known)).map_err(|why| AssembleError::NoVmm { why })?;
        Ok((qemu?, Some(because)))
    }

    async fn try_firecracker(&self, programs: &Programs) -> Firecracker {
        match firecracker::verdict(&self.wanted.data_dir, programs, self.kernel().as_deref()).await {
            Ok(verdict) if verdict.works => Firecracker::Boots(verdict.reason),
            Ok(verdict) => Firecracker::Not(verdict.reason),
            Err(untried) => Firecracker::Not(untried.to_string()),
        }
    }

    pub async fn firecracker(&self, programs: &Programs) -> Result<Arc<dyn Vmm>, AssembleError> {
        let agent = self.wanted.agent.ok_or(AssembleError::NoAgent)?;
        let driver =
            firecracker::driver(&self.wanted.data_dir, self.owner, agent, programs, &self.wanted.firecracker.jail).await?;
        Ok(Arc::new(driver))
    }

    pub async fn qemu(&self) -> Result<Arc<dyn Vmm>, AssembleError> {
        let agent = self.wanted.agent.ok_or(AssembleError::NoAgent)?.to_vec();
        let remembered = kvm_kept_at(&self.wanted.data_dir);
        let kernel = self.kernel();
        let options = QemuOptions {
            data: self.wanted.data_dir.clone(),
            owner: self.owner.to_owned(),
            agent,
            kvm: kept::recall(&remembered, None),
            kernel: kernel.clone(),
            user: user(&self.wanted.firecracker.jail),
            ..QemuOptions::default()
        };
        let qemu = Qemu::detect(options).await.map_err(AssembleError::Vmm)?;
        // A verdict without a kernel to try is no verdict, and one without the right to try is another user's tomorrow.
        if let (Some(verdict), Some(_)) = (qemu.kvm_verdict(), kernel)
            && nix::unistd::access("/dev/kvm", nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK).is_ok()
        {
            kept::keep(&remembered, None, verdict);
        }
        Ok(Arc::new(qemu))
    }
}

/// What jails a Firecracker's processes gives QEMU's their users.
fn user(jail: &Jail) -> UserChoice {
    match jail {
        Jail::Jailer { uids, .. } => UserChoice::Own(uids.clone()),
        Jail::None => UserChoice::Hearths,
    }
}

/// The file of a kernel that was imported, to try KVM with.
fn stored_kernel(journal: &Journal, images: &dyn ImageStore) -> Option<PathBuf> {
    let loaded = journal.load(schema::IMAGES).ok()?.decode::<domain::image::Image>();
    let ready = loaded.good.into_iter().map(|(_, image)| image).find(|image| {
        image.spec.kind == domain::image::ImageKind::Kernel && matches!(image.state, domain::image::State::Ready(_))
    })?;
    let path = images.path(ready.id);
    path.is_file().then_some(path)
}

fn kvm_kept_at(data_dir: &Path) -> PathBuf {
    data_dir.join("kvm.json")
}

/// What the last start of this boot found out about KVM.
pub fn remembered_kvm(data_dir: &Path) -> Option<KvmVerdict> {
    kept::recall(&kvm_kept_at(data_dir), None)
}
