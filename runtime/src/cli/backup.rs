//! `hearth backup` and `hearth restore`: the control plane as one file, with the secrets of webhooks. Disks, images and the admin's token are
//! not in it.

use super::args::{DEFAULT_DATA_DIR, Global};
use super::context::Context;
use super::error::CliError;
use super::fsck;
use super::output;
use clap::Args;
use futures_util::StreamExt;
use host::secret::{FileSecrets, Secret};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use storage::backup::{About, Backup, BackupError, read};
use storage::{Rescued, offline};

pub const EXAMPLES: &str = "\
The file holds every record and event as of one moment, and the secrets of webhooks: whoever has it can sign as this server, so it is made
for its owner only (mode 0600). Not in it: the disks of VMs, the files of images, the admin's token. Copy those by their own means (DIR/vms
with stopped VMs, DIR/images).

Examples:
  hearth backup hearth-$(date +%F).backup
  hearth backup --without-secrets to-show-to-others.backup";

pub const RESTORE_EXAMPLES: &str = "\
DIR must be empty or absent. The first `hearth up` on it makes a new admin.token and a new identity.

Examples:
  hearth restore hearth-2026-01-01.backup --data-dir /var/lib/hearth";

const JOURNAL: &str = crate::up::JOURNAL;
const SECRETS: &str = crate::assemble::SECRETS;
const RESTORING: &str = "journal.restoring";
/// Only its owner: labels and commands may tell more than others should know.
const MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave the secrets of webhooks out: after a restore each needs a new one
    #[arg(long)]
    without_secrets: bool,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A file that `hearth backup` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const FULL: &str = "see that you may write there, and that the disk has room";

fn failed(what: &Path, detail: impl std::fmt::Display, hint: &str) -> CliError {
    CliError::Offline { detail: format!("{}: {detail}", what.display()), hint: hint.to_owned() }
}

/// A file of that name appears only when all of it is there, checked and on the disk.
pub async fn run(context: &Context, args: BackupArgs) -> Result<(), CliError> {
    if args.file.exists() {
        return Err(failed(&args.file, "it exists already", "choose another name: no backup is written over"));
    }
    let mut part = args.file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let made = receive(context, &part, !args.without_secrets).await.and_then(|()| {
        let about = verify(&part)?.about;
        fs::rename(&part, &args.file).map_err(|error| failed(&args.file, error, FULL))?;
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

async fn receive(context: &Context, part: &Path, secrets: bool) -> Result<(), CliError> {
    let response = context.client.backup(secrets).await.map_err(|error| context.explain(error, None))?;
    // One of an earlier try may be open to others.
    let _ = fs::remove_file(part);
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(part).map_err(|error| failed(part, error, FULL))?;
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| failed(part, format!("the server broke it off: {error}"), "try again"))?;
        file.write_all(&piece).map_err(|error| failed(part, error, FULL))?;
    }
    file.sync_all().map_err(|error| failed(part, error, FULL))
}

fn verify(path: &Path) -> Result<Backup, CliError> {
    let file = File::open(path).map_err(|error| failed(path, error, "name a file that `hearth backup FILE` made"))?;
    read(BufReader::new(file)).map_err(|error| {
        let hint = match &error {
            BackupError::Foreign => "name a file that `hearth backup FILE` made",
            BackupError::Newer { .. } => "install that hearth, or make the backup anew with this one",
            BackupError::Truncated | BackupError::Damaged { .. } => {
                "take another copy of it, or an earlier backup: nothing was restored"
            }
            BackupError::Io { .. } => "see that it is a file that you may read",
        };
        failed(path, actors::error::chain(&error), hint)
    })
}

pub fn restore(global: &Global, args: &RestoreArgs) -> Result<(), CliError> {
    let dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let Backup { about, content, secrets } = verify(&args.file)?;
    if let Some(newer) = fsck::newer(&content) {
        return Err(failed(&args.file, newer, "restore it with the hearth that wrote it, or a later one"));
    }
    empty(&dir)?;
    place(&dir, &content, &secrets).inspect_err(|_| {
        // It was empty, and the next try must find it so.
        for made in [JOURNAL, RESTORING, SECRETS] {
            let _ = fs::remove_dir_all(dir.join(made));
        }
    })?;
    tell(global.output == super::args::Output::Json, &dir, &about, "restored")?;
    let (vms, images) = (count(&content, storage::schema::VMS), count(&content, storage::schema::IMAGES));
    if vms + images > 0 {
        output::note(&format!(
            "the disks of {vms} VMs and the files of {images} images are not in a backup: bring {0}/vms and {0}/images back before hearth up, \
             or remove and make them anew; a VM without its disk fails to start and says so",
            dir.display()
        ));
    }
    let lacking = fsck::webhooks(&content).into_iter().filter(|webhook| !secrets.contains_key(&webhook.secret_name()));
    let lacking: Vec<String> = lacking.map(|webhook| webhook.name.to_string()).collect();
    if !lacking.is_empty() {
        output::note(&format!(
            "the backup does not hold the secrets of these webhooks, which send nothing until each has a new one \
             (hearth webhook update NAME --new-secret, or --secret with the old): {}",
            lacking.join(", ")
        ));
    }
    Ok(())
}

/// Secrets first, then the journal that names them; it has its own name only when all of it is on the disk.
fn place(dir: &Path, content: &Rescued, secrets: &BTreeMap<String, Vec<u8>>) -> Result<(), CliError> {
    let full = |error: io::Error| failed(dir, error, FULL);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(full)?;
    let kept = FileSecrets::new(dir.join(SECRETS));
    for (name, secret) in secrets {
        let restored = kept.restore(name, &Secret::new(secret.clone()));
        restored.map_err(|error| failed(dir, actors::error::chain(&error), FULL))?;
    }
    let made = dir.join(RESTORING);
    offline::write(&made, content).map_err(|error| failed(dir, actors::error::chain(&error), FULL))?;
    fs::rename(&made, dir.join(JOURNAL)).and_then(|()| File::open(dir)?.sync_all()).map_err(full)
}

fn count(content: &Rescued, table: &str) -> usize {
    content.records.keys().filter(|(of, _)| of == table).count()
}

fn empty(dir: &Path) -> Result<(), CliError> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(failed(
            dir,
            "it is not empty; a backup is restored into a new data directory only",
            "name another directory with --data-dir, or move this one away",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(dir, error, FULL)),
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
