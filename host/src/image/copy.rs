//! Copying a file and taking its digest in the same pass. Holes stay holes, and count as zeros in the digest.

use super::copying::Copying;
use nix::unistd::{Whence, lseek64};
use sha2::{Digest, Sha256};
use std::{fs::File, io, os::fd::AsRawFd, os::unix::fs::FileExt};

const CHUNK: usize = 1 << 20;

nix::ioctl_write_int!(clone_from, 0x94, 9);

/// `to` becomes what `from` is; gives SHA-256 and length of what was copied. Blocks. On an error `to` holds a part; that it was given up is
/// an error too.
pub fn copy(from: &File, to: &File, copying: &Copying) -> io::Result<(String, u64)> {
    let len = from.metadata()?.len();
    if clone(from, to) {
        // The clone is read, not the source: that one may change meanwhile.
        return Ok((digest(to, len, None, copying)?, len));
    }
    to.set_len(len)?;
    Ok((digest(from, len, Some(to), copying)?, len))
}

/// Shares the blocks where the file system can: nothing is written, and it takes a millisecond.
#[allow(unsafe_code)]
fn clone(from: &File, to: &File) -> bool {
    // SAFETY: FICLONE takes the other descriptor as an integer; both are open.
    unsafe { clone_from(to.as_raw_fd(), from.as_raw_fd() as nix::sys::ioctl::ioctl_param_type) }.is_ok()
}

/// Reads the file's data, writes it to `to` if there is one, and takes the digest over all of it.
fn digest(from: &File, len: u64, to: Option<&File>, copying: &Copying) -> io::Result<String> {
    let (mut hash, mut buffer, mut at) = (Sha256::new(), vec![0; CHUNK], 0);
    while at < len {
        let (start, end) = data_after(from, at, len)?;
        zeros(&mut hash, start - at, copying)?;
        at = start;
        while at < end {
            let most = CHUNK.min((end - at) as usize);
            let read = from.read_at(&mut buffer[..most], at)?;
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was copied"));
            }
            hash.update(&buffer[..read]);
            if let Some(to) = to {
                to.write_all_at(&buffer[..read], at)?;
            }
            at += read as u64;
            copying.copied(read as u64).map_err(io::Error::other)?;
        }
    }
    Ok(format!("sha256:{}", hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// The next run of data at or after `at`; empty at the end of the file when only a hole follows.
fn data_after(file: &File, at: u64, len: u64) -> io::Result<(u64, u64)> {
    let seek = |offset: u64, whence| lseek64(file, offset as i64, whence);
    match seek(at, Whence::SeekData) {
        Ok(start) => {
            let end = seek(start as u64, Whence::SeekHole)?;
            Ok(((start as u64).min(len), (end as u64).min(len)))
        }
        Err(nix::errno::Errno::ENXIO) => Ok((len, len)),
        // A file system without holes: all of it is data.
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::EOPNOTSUPP) => Ok((at, len)),
        Err(error) => Err(error.into()),
    }
}

fn zeros(hash: &mut Sha256, mut count: u64, copying: &Copying) -> io::Result<()> {
    static ZEROS: [u8; CHUNK] = [0; CHUNK];
    while count > 0 {
        let part = count.min(CHUNK as u64);
        hash.update(&ZEROS[..part as usize]);
        copying.copied(part).map_err(io::Error::other)?;
        count -= part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn holes_stay_and_the_digest_is_that_of_all_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("from");
        let from = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        from.set_len((8 << 20) + 5).unwrap();
        from.write_all_at(b"middle", (3 << 20) + 100).unwrap();
        let to = File::options().read(true).write(true).create_new(true).open(folder.path().join("to")).unwrap();
        let (digest, len) = copy(&from, &to, &Copying::default()).unwrap();
        let content = std::fs::read(&path).unwrap();
        assert_eq!(len as usize, content.len());
        let whole: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, format!("sha256:{whole}"));
        assert_eq!(std::fs::read(folder.path().join("to")).unwrap(), content);
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20, "the copy is sparse");
    }

    #[test]
    fn an_empty_file_has_the_empty_digest() {
        let file = tempfile::tempfile().unwrap();
        let (digest, len) = copy(&file, &tempfile::tempfile().unwrap(), &Copying::default()).unwrap();
        assert_eq!((digest.as_str(), len), ("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0));
    }

    #[test]
    fn bytes_are_told_and_who_gives_up_copies_no_further() {
        let from = tempfile::tempfile().unwrap();
        from.write_all_at(&vec![7; 3 << 20], 0).unwrap();
        let copying = Copying::default();
        copy(&from, &tempfile::tempfile().unwrap(), &copying).unwrap();
        assert_eq!(copying.watch().borrow().done_bytes, 3 << 20);
        copying.give_up();
        let to = tempfile::tempfile().unwrap();
        assert!(copy(&from, &to, &copying).is_err());
        assert_eq!(copying.watch().borrow().done_bytes, 3 << 20, "not a chunk more");
    }
}
