//! The look that comes before sled: is the journal whole, as far as can be told without writing?
//!
//! Owns the verdict. What reads sled's files is `raw`; what must hold between entries is `content`. When they find something, sled
//! itself is asked on a copy of the folder: only if that, too, is not whole, the journal is refused, and its folder is as it was.

use super::{
    content::{Checker, Content},
    directory::{self, Noted},
    store::Store,
};
use crate::raw::{self, Tree};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

const DATA: &str = "db";

/// What is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// This reader can't make sense of it; sled has the last word on its own files.
    Odd(String),
    /// Something that was written would be left out by sled, which would not notice.
    Lost(String),
}

impl Finding {
    pub fn text(self) -> String {
        match self {
            Finding::Odd(text) | Finding::Lost(text) => text,
        }
    }
}

impl From<String> for Finding {
    fn from(text: String) -> Finding {
        Finding::Odd(text)
    }
}

/// What the folder holds, or what is wrong with it. Writes nothing.
pub(crate) fn examine(folder: &Path) -> Result<Content, Finding> {
    walk(folder, |_, _| ())
}

/// `examine`, with each entry on the way.
pub(super) fn walk(folder: &Path, mut each: impl FnMut(&[u8], &[u8])) -> Result<Content, Finding> {
    let noted = directory::noted(folder).map_err(|error| format!("the file `acknowledged` cannot be read: {error}"))?;
    if !raw::settings_are_known(folder).map_err(|error| format!("the store's settings cannot be read: {error}"))? {
        return Err(Finding::Odd("the store's settings (conf) are damaged".to_owned()));
    }
    let data = File::open(folder.join(DATA)).map_err(|error| format!("the data file cannot be read: {error}"))?;
    let recovered = raw::recover(folder, &data).map_err(|error| chain(&error))?;
    let mut checker = Checker::default();
    let walked = Tree { data: &data, recovered: &recovered }.walk(|key, value| {
        each(key, value);
        checker.entry(key, value)
    });
    if let Some(why) = raw::unseen(&recovered) {
        return Err(Finding::Lost(why));
    }
    let content = walked.and_then(|()| checker.finish()).map_err(|why| match recovered.skipped.first() {
        Some(place) => format!("{why}; the first damage is at byte {} of the data file", place.at),
        None => why,
    })?;
    not_behind(content, noted).map_err(Finding::Odd)
}

/// Refuses what lacks a batch that was acknowledged.
fn not_behind(content: Content, noted: Noted) -> Result<Content, String> {
    if content.head.number < noted.number {
        return Err(format!("batch {} was acknowledged, the store ends at batch {}", noted.number, content.head.number));
    }
    Ok(content)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

/// `examine`, and, when that finds something, what sled makes of a copy: it has the last word on its own files.
///
/// # Errors
/// A sentence about what is wrong. The folder is as it was.
pub(super) fn before_opening(folder: &Path, cache_mib: u64) -> Result<Content, String> {
    let why = match examine(folder) {
        Ok(content) => return Ok(content),
        Err(Finding::Lost(why)) => return Err(why),
        Err(Finding::Odd(why)) => why,
    };
    let copy = match Copy::of(folder) {
        Ok(copy) => copy,
        Err(error) => return Err(format!("{why} (and no copy could be made to try: {error})")),
    };
    let content = ask_sled(&copy.0, cache_mib).and_then(|content| {
        let noted = directory::noted(folder).map_err(|error| error.to_string())?;
        not_behind(content, noted)
    });
    match content {
        Ok(content) => {
            tracing::warn!(folder = %folder.display(), why, "the store looked damaged, and is whole in a copy; it is opened");
            Ok(content)
        }
        Err(theirs) if theirs == why => Err(why),
        Err(theirs) => Err(format!("{why} (opened as a copy: {theirs})")),
    }
}

/// Opens a folder of sled's, which may write to it, and reads all of it.
fn ask_sled(folder: &Path, cache_mib: u64) -> Result<Content, String> {
    let store = Store::open(folder, cache_mib).map_err(|fault| chain(&fault))?;
    let mut checker = Checker::default();
    let read = store.each(|key, value| checker.entry(key, value));
    // It is thrown away: whether its end is orderly does not matter.
    let _ = store.close();
    read.map_err(|fault| chain(&fault))??;
    checker.finish()
}

/// A copy of the folder beside it, removed when dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(folder: &Path) -> io::Result<Copy> {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(format!(".look-{}", std::process::id()));
        let copy = Copy(folder.with_file_name(name));
        copy_folder(folder, &copy.0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a copy of the journal is left, remove it");
        }
    }
}

/// Files and folders; others (sockets, links) are not a journal's.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            // Shares the blocks where the file system can.
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
