//! A disk that somebody changed between two launches: nothing is started on it, and nothing of it or of what it names is opened.

use super::{Lab, traces};
use crate::contract::plan;
use domain::Attempt;
use host::vmm::{Vmm, VmmError};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    time::{Duration, SystemTime},
};

/// Of the header: where the name of the image is, how long it is, and the incompatible features.
const NAME_AT: usize = 8;
const NAME_LENGTH_AT: u64 = 16;
const FEATURES_AT: u64 = 72;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_names_another_file_is_never_started() {
    let Some(lab) = Lab::open("a_disk_that_names_another_file_is_never_started").await else { return };
    let qemu = lab.driver().await;
    let (machine, _guest) = lab.booted(&qemu).await;
    qemu.kill(lab.vm, &machine).await.unwrap();
    qemu.clean(lab.vm).await.unwrap();
    let secret = lab.data.path().join("secret");
    fs::write(&secret, vec![b's'; 1 << 20]).unwrap();
    // Older than it was changed, so that any reading of it leaves a newer time.
    let never = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    File::open(&secret).unwrap().set_times(fs::FileTimes::new().set_accessed(never)).unwrap();
    let disk = lab.folder().join("disk.qcow2");
    let good = fs::read(&disk).unwrap();
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let name = secret.to_str().unwrap();
    let at = u64::from_be_bytes(good[NAME_AT..NAME_AT + 8].try_into().unwrap());
    let plan = plan(lab.vm, &lab.images);
    let refused = async |launch: u64, words: &[&str]| {
        let before = fs::read(&disk).unwrap();
        let error = qemu.launch(&plan, Attempt(launch)).await.expect_err("a launch on that disk");
        assert!(matches!(error, VmmError::DiskAltered { .. }), "{error}");
        let told = error.to_string();
        for word in words {
            assert!(told.contains(word), "{word:?} is not in {told}");
        }
        assert_eq!(traces(&lab.owner), Vec::<String>::new(), "no process was made");
        assert!(fs::read(&disk).unwrap() == before, "the disk is as it was");
        assert_eq!(fs::metadata(&secret).unwrap().atime(), 1, "nobody read the file that it names");
        assert!(
            !fs::read_dir(lab.folder()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("root-"))
        );
    };
    // As its image.
    file.write_all_at(name.as_bytes(), at).unwrap();
    file.write_all_at(&(name.len() as u32).to_be_bytes(), NAME_LENGTH_AT).unwrap();
    refused(2, &[name, "delete the VM"]).await;
    // As the place of its data.
    file.write_all_at(&good[..4096], 0).unwrap();
    file.write_all_at(&4_u64.to_be_bytes(), FEATURES_AT).unwrap();
    refused(3, &["in another file"]).await;
    // Another file in its place.
    file.write_all_at(&good[..4096], 0).unwrap();
    let aside = lab.data.path().join("aside");
    fs::rename(&disk, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &disk).unwrap();
    refused(4, &["symbolic link"]).await;
    // Put back, it starts again, guest and all.
    fs::rename(&aside, &disk).unwrap();
    let (machine, _guest) = lab.booted(&qemu).await;
    qemu.kill(lab.vm, &machine).await.unwrap();
    qemu.remove(lab.vm).await.unwrap();
    qemu.sweep(&[]).await.unwrap();
}
