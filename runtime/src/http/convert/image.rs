//! An image's record, and who boots from it.

use super::time;
use api::v1;
use domain::image::{Image, ImageKind, State};

/// `users`: how many VMs boot from it, and the first ids of them.
pub fn image(record: &Image, users: (u64, Vec<String>)) -> v1::Image {
    let (used_by_count, used_by) = users;
    let files = match &record.state {
        State::Ready(files) => Some(files),
        State::Importing | State::Failed { .. } | State::Deleting | State::Cancelling => None,
    };
    let delete = match record.state {
        State::Importing => Some("the image is still being imported".to_owned()),
        State::Deleting | State::Cancelling => Some("the image is being deleted".to_owned()),
        State::Ready(_) | State::Failed { .. } if used_by_count > 0 => Some("the image is used by VMs".to_owned()),
        State::Ready(_) | State::Failed { .. } => None,
    };
    let update = matches!(record.state, State::Deleting | State::Cancelling).then(|| "the image is being deleted".to_owned());
    let (actions, refused) = super::split([("delete", delete), ("update", update)].into_iter());
    v1::Image {
        id: record.id.to_string(),
        name: record.name.to_string(),
        project: record.project.to_string(),
        labels: record.labels.clone(),
        generation: record.generation.0,
        created_at: time(record.created_at),
        updated_at: time(record.updated_at),
        spec: v1::ImageSpec {
            kind: match record.spec.kind {
                ImageKind::Kernel => v1::ImageKind::Kernel,
                ImageKind::Rootfs => v1::ImageKind::Rootfs,
            },
            path: record.spec.path.clone(),
            initrd: record.spec.initrd.clone(),
            default: record.spec.default,
            description: record.spec.description.clone(),
        },
        status: v1::ImageStatus {
            state: match record.state {
                State::Importing => v1::ImageState::Importing,
                State::Ready(_) => v1::ImageState::Ready,
                State::Failed { .. } => v1::ImageState::Failed,
                State::Deleting | State::Cancelling => v1::ImageState::Deleting,
            },
            reason: match &record.state {
                State::Failed { code, detail } => Some(v1::Reason { code: code.clone(), detail: detail.clone() }),
                State::Importing | State::Ready(_) | State::Deleting | State::Cancelling => None,
            },
            size_bytes: files.map_or(0, |files| files.size_bytes + files.initrd_size_bytes),
            digest: files.map(|files| files.digest.clone()),
            used_by,
            used_by_count,
            operation: record.operation.map(|operation| operation.to_string()),
            actions,
            refused,
        },
    }
}
