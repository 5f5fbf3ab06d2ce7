//! The agent's own initramfs: a newc cpio archive in memory. It goes after the kernel's archive of modules; the kernel unpacks archives
//! one after another. Does not compress (3 ms of unpacking saved is nothing) and does not know the modules.
const TRAILER: &str = "TRAILER!!!";
/// Every archive ends on this, so that the next begins where the kernel looks for it.
const ALIGN: usize = 4;
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive with `agent` as `/init` and the folders that it mounts on.
pub fn agent_archive(agent: &[u8]) -> Vec<u8> {
    let mut cpio = Cpio::default();
    for folder in ["dev", "proc", "sys", "root"] {
        cpio.folder(folder);
    }
    // Without it PID 1 has no console until devtmpfs is mounted, and its first words are lost.
    cpio.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
    cpio.entry("init", PROGRAM, (0, 0), agent);
    cpio.finish()
}

/// A newc writer. Names are relative, folders before what is in them.
#[derive(Debug, Default)]
pub struct Cpio {
    out: Vec<u8>,
    entries: u32,
}

impl Cpio {
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, (0, 0), &[]);
    }

    /// `mode` 0644 or 0755.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | mode, (0, 0), content);
    }

    /// The archive's bytes, its length a multiple of four.
    pub fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.out
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let inode = if name == TRAILER { 0 } else { self.entries };
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        // newc holds sizes in 32 bits; nothing that goes in here comes near.
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check (cpio(5), "new ASCII format")
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.out.extend_from_slice(b"070701");
        for field in fields {
            self.out.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(0);
        self.pad();
        self.out.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests;
