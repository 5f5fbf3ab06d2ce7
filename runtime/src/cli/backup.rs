//! `hearth backup` and `hearth restore`: the control plane as one file. Disks, images and the admin's token are not in it.

use super::args::{DEFAULT_DATA_DIR, Global};
use super::context::Context;
use super::error::{CliError, FAILED};
use super::fsck;
use super::output;
use clap::Args;
use futures_util::StreamExt;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use storage::backup::{About, read};
use storage::{Rescued, offline};

pub const EXAMPLES: &str = "\
The file holds every record and event as of one moment. Not in it: the disks of VMs, the files of images, the admin's token.
Copy those by their own means (DIR/vms with stopped VMs, DIR/images). It is as secret as what your labels and names say.

Examples:
  hearth backup hearth-$(date +%F).backup";

pub const RESTORE_EXAMPLES: &str = "\
DIR must be empty or absent. The first `hearth up` on it makes a new admin.token and a new identity.

Examples:
  hearth restore hearth-2026-01-01.backup --data-dir /var/lib/hearth";

const JOURNAL: &str = crate::up::JOURNAL;
/// Only its owner: labels and commands may tell more than others should know.
const MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A file that `hearth backup` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

fn failed(what: &Path, detail: impl std::fmt::Display) -> CliError {
    CliError::NotRun { detail: format!("{}: {detail}", what.display()), code: FAILED }
}

/// A file of that name appears only when all of it is there, checked and on the disk.
pub async fn run(context: &Context, args: BackupArgs) -> Result<(), CliError> {
    if args.file.exists() {
        return Err(failed(&args.file, "it exists already, choose another name"));
    }
    let mut part = args.file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let made = receive(context, &part).await.and_then(|()| {
        let about = verify(&part)?.0;
        fs::rename(&part, &args.file).map_err(|error| failed(&args.file, error))?;
        Ok(about)
    });
    match made {
        Ok(about) => tell(context.json(), &args.file, &about, "backed up"),
        Err(error) => {
            // What is there of it is of no use.
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

async fn receive(context: &Context, part: &Path) -> Result<(), CliError> {
    let response = context.client.backup().await.map_err(|error| context.explain(error, None))?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(part)
        .map_err(|error| failed(part, error))?;
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| failed(part, format!("the server broke it off: {error}")))?;
        file.write_all(&piece).map_err(|error| failed(part, error))?;
    }
    file.sync_all().map_err(|error| failed(part, error))
}

fn verify(path: &Path) -> Result<(About, Rescued), CliError> {
    let file = File::open(path).map_err(|error| failed(path, error))?;
    read(BufReader::new(file)).map_err(|error| failed(path, error))
}

pub fn restore(global: &Global, args: &RestoreArgs) -> Result<(), CliError> {
    let dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let (about, content) = verify(&args.file)?;
    if let Some(newer) = fsck::newer(&content) {
        return Err(failed(&args.file, newer));
    }
    empty(&dir)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| failed(&dir, error))?;
    // Under its own name only when all of it is on the disk.
    let made = dir.join("journal.restoring");
    offline::write(&made, &content).map_err(|error| failed(&dir, actors::error::chain(&error)))?;
    let place = || {
        fs::rename(&made, dir.join(JOURNAL))?;
        File::open(&dir)?.sync_all()
    };
    place().map_err(|error: io::Error| failed(&dir, error))?;
    tell(global.output == super::args::Output::Json, &dir, &about, "restored")?;
    let (vms, images) = (count(&content, storage::schema::VMS), count(&content, storage::schema::IMAGES));
    if vms + images > 0 {
        output::note(&format!(
            "the disks of {vms} VMs and the files of {images} images are not in a backup: bring {0}/vms and {0}/images back before hearth up, \
             or remove and make them anew; a VM without its disk fails to start and says so",
            dir.display()
        ));
    }
    Ok(())
}

fn count(content: &Rescued, table: &str) -> usize {
    content.records.keys().filter(|(of, _)| of == table).count()
}

fn empty(dir: &Path) -> Result<(), CliError> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(failed(dir, "it is not empty; a backup is restored into a new data directory only")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(dir, error)),
    }
}

#[derive(serde::Serialize)]
struct Told<'a> {
    path: String,
    batch: u64,
    records: u64,
    oldest_event: u64,
    newest_event: u64,
    made_at_ms: u64,
    version: &'a str,
}

fn tell(json: bool, path: &Path, about: &About, done: &str) -> Result<(), CliError> {
    let About { number, oldest, latest, records, made_at_ms, version } = about;
    if json {
        return output::json(&Told {
            path: path.display().to_string(),
            batch: *number,
            records: *records,
            oldest_event: *oldest,
            newest_event: *latest,
            made_at_ms: *made_at_ms,
            version,
        });
    }
    output::line(&format!("{done}: {} ({records} records, events {oldest} to {latest}, hearth {version})", path.display()))
}
