//! What the names in a specification mean on this node, and whether it can be met at all.

use crate::{error::CommandError, shared::Shared, vm::supervisor::impossible};
use domain::{
    HostId, ImageId, Name,
    image::{Image, ImageKind, State},
    vm::{BootImages, VmSpec, actions, spec},
};
use std::sync::Arc;

/// The host that the VM goes to. Refused when the specification is impossible, here or anywhere.
pub(crate) fn place(shared: &Shared, wanted: &VmSpec) -> Result<HostId, CommandError> {
    let problems = spec::check(wanted);
    if !problems.is_empty() {
        return Err(CommandError::Invalid(problems));
    }
    let host = shared.view.host(shared.host).ok_or(CommandError::Restarting)?;
    if let Some(reference) = &wanted.host
        && *reference != host.id.to_string()
        && *reference != host.name.as_str()
    {
        return Err(impossible("spec.host", format!("there is no host {reference}; this node has {}", host.name)));
    }
    actions::equipped(&wanted.devices, Some(host.facts.offer())).map_err(CommandError::Vm)?;
    if host.cordoned {
        return Err(CommandError::HostCordoned);
    }
    let room = host.facts.vm_mem_mib;
    let most = wanted.devices.mem_max_mib.map(|mib| ("spec.mem_max_mib", mib));
    for (field, mib) in [("spec.mem_mib", wanted.mem_mib)].into_iter().chain(most) {
        if u64::from(mib) > room {
            return Err(impossible(field, format!("the host {} has {room} MiB for VMs in all", host.name)));
        }
    }
    Ok(host.id)
}

/// The images to boot from: both are there and ready now.
pub(crate) fn resolve_boot(shared: &Shared, project: &Name, wanted: &VmSpec) -> Result<BootImages, CommandError> {
    let rootfs = find(shared, project, "spec.image", &wanted.image, ImageKind::Rootfs)?;
    let kernel = match &wanted.kernel {
        Some(reference) => find(shared, project, "spec.kernel", reference, ImageKind::Kernel)?,
        None => shared.view.default_kernel().ok_or(CommandError::NoDefaultKernel)?,
    };
    if let Some(disk_mib) = wanted.disk_mib {
        holds(disk_mib, &rootfs)?;
    }
    Ok(BootImages { kernel: kernel.id, rootfs: rootfs.id })
}

/// A disk of that size holds the image.
pub(crate) fn holds(disk_mib: u64, rootfs: &Image) -> Result<(), CommandError> {
    let State::Ready(files) = &rootfs.state else { return Ok(()) };
    let least = files.size_bytes.div_ceil(1024 * 1024);
    if disk_mib < least {
        return Err(impossible("spec.disk_mib", format!("the image {} needs at least {least} MiB", rootfs.name)));
    }
    Ok(())
}

fn find(
    shared: &Shared,
    project: &Name,
    field: &'static str,
    reference: &str,
    kind: ImageKind,
) -> Result<Arc<Image>, CommandError> {
    let unknown = || CommandError::UnknownImage { field, reference: reference.to_owned() };
    let id = match reference.parse::<ImageId>() {
        Ok(id) => id,
        Err(_) => {
            let name: Name = reference.parse().map_err(|_| unknown())?;
            shared.view.find_image(project, &name).ok_or_else(unknown)?
        }
    };
    let image = shared.view.image(id).ok_or_else(unknown)?;
    if image.spec.kind != kind {
        let detail = format!("{reference} is a {}, not a {}", image.spec.kind.as_str(), kind.as_str());
        return Err(impossible(field, detail));
    }
    match image.state {
        State::Ready(_) => Ok(image),
        State::Importing | State::Failed { .. } | State::Deleting | State::Cancelling => {
            Err(CommandError::ImageNotReady { field, reference: reference.to_owned(), state: image.state.name() })
        }
    }
}
