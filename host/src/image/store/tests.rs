//! The store on a real folder, and on a real full one.

use super::*;
use std::io::Write;

fn spec(kind: ImageKind, path: &Path, initrd: Option<&Path>) -> ImageSpec {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    ImageSpec { kind, path: text(path), initrd: initrd.map(text), default: false, description: None }
}

fn file(folder: &Path, name: &str, content: &[u8], len: u64) -> PathBuf {
    let path = folder.join(name);
    let mut file = File::create(&path).unwrap();
    file.write_all(content).unwrap();
    file.set_len(len).unwrap();
    path
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn imports_are_shared_by_digest_and_leave_nothing_when_removed() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = file(folder.path(), "vmlinux", b"\x7fELF", 3 << 20);
    let initrd = file(folder.path(), "initrd", b"070701", 4096);
    let store = FileStore::new(folder.path().join("store"));
    let [one, two] = [1, 2].map(ImageId::from_bits);
    let files = store.import(one, &spec(ImageKind::Kernel, &kernel, Some(&initrd)), &Arc::default()).await.unwrap();
    assert_eq!((files.size_bytes, files.initrd_size_bytes), (3 << 20, 4096));
    assert!(files.digest.starts_with("sha256:") && files.initrd_digest.is_some());
    assert_eq!(fs::read(store.path(one)).unwrap(), fs::read(&kernel).unwrap());
    assert_eq!(fs::read(store.initrd_path(one)).unwrap(), fs::read(&initrd).unwrap());
    let again = store.import(two, &spec(ImageKind::Kernel, &kernel, None), &Arc::default()).await.unwrap();
    assert_eq!(again.digest, files.digest);
    assert_eq!(fs::metadata(store.path(one)).unwrap().ino(), fs::metadata(store.path(two)).unwrap().ino());
    // An import that is repeated after a crash replaces itself.
    assert_eq!(store.import(one, &spec(ImageKind::Kernel, &kernel, Some(&initrd)), &Arc::default()).await.unwrap(), files);
    store.remove(one).await.unwrap();
    store.remove(one).await.expect("removed twice is removed");
    assert_eq!(fs::read(store.path(two)).unwrap().len(), 3 << 20);
    store.remove(two).await.unwrap();
    assert_eq!(names(&folder.path().join("store")), [BY_DIGEST]);
    assert_eq!(names(&folder.path().join("store").join(BY_DIGEST)), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_imported_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = file(folder.path(), "vmlinux", b"\x7fELF", 4096);
    let store = FileStore::new(folder.path().join("store"));
    let image = ImageId::from_bits(1);
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let cases = [
        (spec(ImageKind::Rootfs, &kernel, None), "source-wrong-kind"),
        (spec(ImageKind::Kernel, &kernel, Some(&kernel)), "source-wrong-kind"),
        (spec(ImageKind::Kernel, Path::new("vmlinux"), None), "source-unreadable"),
        (spec(ImageKind::Kernel, &folder.path().join("absent"), None), "source-unreadable"),
        (spec(ImageKind::Kernel, folder.path(), None), "source-unreadable"),
        (spec(ImageKind::Kernel, &pipe, None), "source-unreadable"),
    ];
    for (spec, code) in cases {
        let error = store.import(image, &spec, &Arc::default()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(names(&folder.path().join("store")), [BY_DIGEST], "{error}");
    }
}

#[tokio::test]
async fn the_sweep_takes_the_unknown_and_the_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = file(folder.path(), "vmlinux", b"\x7fELF", 4096);
    let store = FileStore::new(folder.path().join("store"));
    assert_eq!(store.sweep(&[]).await.unwrap(), Vec::<String>::new());
    let [known, unknown] = [1, 2].map(ImageId::from_bits);
    for image in [known, unknown] {
        store.import(image, &spec(ImageKind::Kernel, &kernel, None), &Arc::default()).await.unwrap();
    }
    file(&folder.path().join("store"), &format!("{known}.{PARTIAL}"), b"half", 4);
    file(&folder.path().join("store"), "notes of someone", b"", 0);
    assert_eq!(store.sweep(&[known]).await.unwrap().len(), 2);
    assert_eq!(names(&folder.path().join("store")), [BY_DIGEST, &known.to_string(), "notes of someone"]);
}

/// In a mount namespace of this thread's own, on a file system of 1 MiB.
#[test]
fn a_full_store_is_named_and_left_as_it_was() {
    use nix::{mount::*, sched::*};
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("vmlinux");
    fs::write(&kernel, [b"\x7fELF".as_slice(), &[1; 2 << 20]].concat()).unwrap();
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let work = move || {
        let none: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let made = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, private, none))
            .and_then(|()| mount(Some("small"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=1m")));
        if let Err(error) = made {
            eprintln!("SKIPPED: a small file system can't be mounted: {error}");
            return;
        }
        let store = FileStore::new(small.join("store"));
        let error =
            store.import_now(ImageId::from_bits(1), &spec(ImageKind::Kernel, &kernel, None), &Copying::default()).unwrap_err();
        assert!(matches!(error, ImageError::DiskFull { .. }), "{error}");
        assert_eq!(names(&small.join("store")), [BY_DIGEST]);
        assert_eq!(names(&small.join("store").join(BY_DIGEST)), Vec::<String>::new());
    };
    std::thread::spawn(work).join().unwrap();
}
