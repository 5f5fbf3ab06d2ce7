//! `hearth fsck`: is the journal of a data directory whole, does what it says fit together, and what can be mended. Never writes without
//! `--repair`, and not at all while a server runs.

use super::args::{DEFAULT_DATA_DIR, Global, Output};
use super::error::{CliError, FAILED};
use super::output;
use super::style::harmless;
use actors::error::chain;
use clap::Args;
use domain::integrity::{self, Records};
use domain::webhook::{DeadLetter, Webhook};
use host::secret::FileSecrets;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use storage::envelope::{DecodeError, Stored, decode};
use storage::{Losses, OpenError, Rescued, SET_ASIDE, SetAside, offline::Offline, schema};

pub const EXAMPLES: &str = "\
Exit code 0: all is well, or all that was found was repaired. 1: something was found. Nothing is written without --repair.
--repair puts a journal with all that can be read in the place of a damaged one, keeps that beside it, and sets aside what does not
decode. What only you can decide is told and left.

Examples:
  hearth fsck ./data
  hearth fsck ./data -o json | jq '.findings'
  hearth fsck ./data --repair";

const JOURNAL: &str = crate::up::JOURNAL;
const SECRETS: &str = crate::assemble::SECRETS;
/// In a table for people; the JSON has all.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
pub struct FsckArgs {
    /// The data directory [default: --data-dir, else ./data]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Mend what can be mended without loss, and what is damaged as far as it can be read
    #[arg(long)]
    repair: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    data_dir: String,
    batch: u64,
    records: usize,
    oldest_event: u64,
    newest_event: u64,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<Lost>,
    repaired: bool,
    /// Where the journal as it was is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
}

#[derive(Debug, Serialize)]
struct Finding {
    code: String,
    subject: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// `--repair` mends it.
    repairable: bool,
}

#[derive(Debug, Serialize)]
struct Lost {
    records: Vec<String>,
    between: Vec<(String, String)>,
    events: Vec<(u64, u64)>,
    batches: Vec<(u64, u64)>,
    changes_of_unknown_records: u64,
    bytes: Vec<(u64, u64)>,
}

impl Lost {
    fn of(losses: &Losses) -> Lost {
        Lost {
            records: losses.records.iter().map(|(table, key)| format!("{table}/{key}")).collect(),
            between: losses.ranges.clone(),
            events: losses.events.clone(),
            batches: losses.batches.clone(),
            changes_of_unknown_records: losses.unattributed,
            bytes: losses.bytes.clone(),
        }
    }
}

pub fn run(global: &Global, args: &FsckArgs) -> Result<(), CliError> {
    let dir = args.dir.clone().or_else(|| global.data_dir.clone()).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let folder = dir.join(JOURNAL);
    let failed = |detail: String| CliError::Offline { detail, hint: "see that the disk is readable and has room".to_owned() };
    let offline =
        Offline::open(&folder).map_err(|error| CliError::Offline { detail: chain(&error), hint: hint(&error).to_owned() })?;
    let mut findings = Vec::new();
    if let Err(detail) = offline.health() {
        findings.push(Finding {
            code: "damaged-journal".into(),
            subject: folder.display().to_string(),
            detail,
            remedy: Some("hearth fsck --repair keeps all that can be read; hearth restore brings back a backup".into()),
            repairable: true,
        });
    }
    let mut content = offline.read().map_err(|error| failed(format!("{}: {error}", folder.display())))?;
    let (records, unreadable) = decoded(&content, &mut findings);
    findings.extend(integrity::check(&records).into_iter().map(|finding| Finding {
        code: finding.code.into(),
        subject: finding.subject,
        detail: finding.detail,
        remedy: finding.remedy.map(str::to_owned),
        repairable: false,
    }));
    let unswept = unswept(&content);
    findings.extend(unswept.iter().map(|(finding, _)| Finding {
        code: finding.code.to_owned(),
        subject: finding.subject.clone(),
        detail: finding.detail.clone(),
        remedy: finding.remedy.map(str::to_owned),
        repairable: true,
    }));
    folders(&dir, &records, &content, &mut findings);
    let secrets = FileSecrets::new(dir.join(SECRETS));
    findings.extend(webhooks(&content).iter().filter(|webhook| !secrets.has(&webhook.secret_name())).map(without_secret));
    let mut report = Report {
        data_dir: dir.display().to_string(),
        batch: content.number,
        records: content.records.len(),
        oldest_event: content.bounds.0,
        newest_event: content.bounds.1,
        lost: (!content.losses.is_empty()).then(|| Lost::of(&content.losses)),
        repaired: false,
        kept: None,
        findings,
    };
    if args.repair && report.findings.iter().any(|finding| finding.repairable) {
        set_aside(&mut content, &unreadable);
        let entries = unswept.into_iter().map(|(_, entry)| ((actors::idempotency::BY_TIME.to_owned(), entry), Vec::new()));
        content.records.extend(entries);
        let kept = offline.replace(&content).map_err(|error| failed(chain(&error)))?;
        report.repaired = true;
        report.kept = Some(kept.display().to_string());
    }
    tell(global, &report)?;
    match report.findings.iter().any(|finding| !(finding.repairable && report.repaired)) {
        true => Err(CliError::Told(FAILED)),
        false => Ok(()),
    }
}

fn hint(error: &OpenError) -> &'static str {
    match error {
        OpenError::InUse { .. } => {
            "end that server first (SIGTERM leaves its guests running), or look at a copy: hearth backup FILE, hearth restore FILE"
        }
        OpenError::Nothing { .. } | OpenError::Foreign { .. } => {
            "name a data directory, which is the folder that `hearth up --data-dir` was given: hearth fsck DIR"
        }
        OpenError::Format { .. } => "use the hearth that wrote it, or a later one",
        _ => "see that you may read and write the directory, and that its disk has room",
    }
}

/// A record that was written by a newer hearth: then a restore is refused.
pub fn newer(content: &Rescued) -> Option<String> {
    let check = |table: &str, bytes: &[u8]| match table {
        schema::VMS => decode::<domain::vm::Vm>(bytes).err(),
        schema::IMAGES => decode::<domain::image::Image>(bytes).err(),
        schema::HOSTS => decode::<domain::host::Host>(bytes).err(),
        schema::OPERATIONS => decode::<domain::operation::Operation>(bytes).err(),
        schema::WEBHOOKS => decode::<Webhook>(bytes).err(),
        schema::WEBHOOK_DEAD_LETTERS => decode::<DeadLetter>(bytes).err(),
        _ => None,
    };
    let newer = content.records.iter().filter_map(|((table, _), bytes)| check(table, bytes));
    let events = content.events.values().filter_map(|bytes| decode::<domain::event::Event>(bytes).err());
    newer.chain(events).find(|error| matches!(error, DecodeError::Newer { .. })).map(|error| error.to_string())
}

type Unreadable = Vec<((String, String), String)>;

/// The records that domain knows; what does not decode is a finding, and what was set aside earlier is one for whoever cares.
fn decoded(content: &Rescued, findings: &mut Vec<Finding>) -> (Records, Unreadable) {
    let mut unreadable = Vec::new();
    let records = Records {
        vms: table(content, schema::VMS, &mut unreadable),
        images: table(content, schema::IMAGES, &mut unreadable),
        hosts: table(content, schema::HOSTS, &mut unreadable),
        operations: table(content, schema::OPERATIONS, &mut unreadable),
    };
    // For what does not decode; the others are `unswept`'s.
    drop(table::<actors::idempotency::Record>(content, actors::idempotency::TABLE, &mut unreadable));
    drop(table::<Webhook>(content, schema::WEBHOOKS, &mut unreadable));
    drop(table::<DeadLetter>(content, schema::WEBHOOK_DEAD_LETTERS, &mut unreadable));
    for ((table, key), why) in &unreadable {
        findings.push(Finding {
            code: "unreadable-record".into(),
            subject: format!("{table}/{key}"),
            detail: why.clone(),
            remedy: Some("--repair sets it aside with its bytes, as the next start would".into()),
            repairable: true,
        });
    }
    for (key, aside) in table_entries::<SetAside>(content, SET_ASIDE, &mut Vec::new()) {
        findings.push(Finding {
            code: "set-aside".into(),
            subject: format!("{}/{}", aside.table, aside.key),
            detail: format!("was set aside ({key}): {}", aside.why),
            remedy: Some(way_back(content, &aside).into()),
            repairable: false,
        });
    }
    for (cursor, bytes) in &content.events {
        if let Err(error) = decode::<domain::event::Event>(bytes) {
            findings.push(Finding {
                code: "unreadable-event".into(),
                subject: format!("event {cursor}"),
                detail: error.to_string(),
                remedy: None,
                repairable: false,
            });
        }
    }
    (records, unreadable)
}

/// What becomes of a record that was set aside.
fn way_back(content: &Rescued, aside: &SetAside) -> &'static str {
    match content.records.contains_key(&(aside.table.clone(), aside.key.clone())) {
        true => "a newer record has its place: nothing needs it",
        false if actors::node::is_readable(aside) => {
            "this hearth can read it: the next start puts it back, unless its name or address is another's by now"
        }
        false => "start the hearth that wrote it, or remove what it stands for",
    }
}

/// Keys without an entry in the index by time, and the entries.
fn unswept(content: &Rescued) -> Vec<(integrity::Finding, String)> {
    use actors::idempotency::{BY_TIME, Record, TABLE};
    let keys = table_entries::<Record>(content, TABLE, &mut Vec::new());
    let entries = content.records.keys().filter(|(table, _)| table == BY_TIME).map(|(_, entry)| entry.as_str()).collect();
    integrity::unswept(keys.iter().map(|(key, record)| (key.as_str(), record.at())), &entries)
}

fn table<T: Stored>(content: &Rescued, name: &str, unreadable: &mut Unreadable) -> Vec<T> {
    table_entries(content, name, unreadable).into_iter().map(|(_, record)| record).collect()
}

fn table_entries<T: Stored>(content: &Rescued, name: &str, unreadable: &mut Unreadable) -> Vec<(String, T)> {
    let mut good = Vec::new();
    for ((table, key), bytes) in content.records.iter().filter(|((table, _), _)| table == name) {
        match decode(bytes) {
            Ok(record) => good.push((key.clone(), record)),
            Err(error) => unreadable.push(((table.clone(), key.clone()), error.to_string())),
        }
    }
    good
}

fn set_aside(content: &mut Rescued, unreadable: &Unreadable) {
    for ((table, key), why) in unreadable {
        let Some(bytes) = content.records.remove(&(table.clone(), key.clone())) else { continue };
        content.number += 1;
        let record = SetAside::new(table, key, bytes, why);
        if let Ok(bytes) = storage::envelope::encode(&record) {
            content.records.insert((SET_ASIDE.to_owned(), format!("{:020}", content.number)), bytes);
        }
    }
}

/// Those whose records can be read.
pub fn webhooks(content: &Rescued) -> Vec<Webhook> {
    table(content, schema::WEBHOOKS, &mut Vec::new())
}

fn without_secret(webhook: &Webhook) -> Finding {
    Finding {
        code: "missing-secret".into(),
        subject: webhook.id.to_string(),
        detail: format!("the secret of the webhook {} is not there: it sends nothing", webhook.name),
        remedy: Some(format!("hearth webhook update {} --new-secret, once the server runs", webhook.name)),
        repairable: false,
    }
}

/// The folders of VMs beside their records. Simulated VMs have none.
fn folders(dir: &Path, records: &Records, content: &Rescued, findings: &mut Vec<Finding>) {
    use domain::vm::{Driver, State};
    let there: BTreeSet<String> = fs::read_dir(dir.join("vms"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect())
        .unwrap_or_default();
    let simulated = records.hosts.iter().any(|host| host.facts.vmm.driver == Driver::Simulated);
    for vm in &records.vms {
        let made = !matches!(vm.state, State::Creating { .. } | State::Deleting | State::Failed);
        if made && !simulated && !there.contains(&vm.id.to_string()) {
            findings.push(Finding {
                code: "missing-disk".into(),
                subject: vm.id.to_string(),
                detail: format!("the VM {} has no folder {}/vms/{}: its disk is gone", vm.name, dir.display(), vm.id),
                remedy: Some("bring the folder back, or hearth vm rm".into()),
                repairable: false,
            });
        }
    }
    let known: BTreeSet<String> = content
        .records
        .keys()
        .filter(|(table, _)| table == schema::VMS)
        .map(|(_, key)| key.clone())
        .chain(table_entries::<SetAside>(content, SET_ASIDE, &mut Vec::new()).into_iter().map(|(_, aside)| aside.key))
        .collect();
    for folder in there.difference(&known) {
        findings.push(Finding {
            code: "stray-folder".into(),
            subject: folder.clone(),
            detail: format!("{}/vms/{folder} belongs to no record", dir.display()),
            remedy: Some("the next start of hearth removes it: copy it first if its disk matters".into()),
            repairable: false,
        });
    }
}

fn tell(global: &Global, report: &Report) -> Result<(), CliError> {
    if global.output == Output::Json {
        return output::json(report);
    }
    let mut text = format!(
        "{}: {} records, events {} to {}, batch {}\n",
        report.data_dir, report.records, report.oldest_event, report.newest_event, report.batch
    );
    for finding in &report.findings {
        let remedy = finding.remedy.as_ref().map_or(String::new(), |remedy| format!(" -> {remedy}"));
        text.push_str(&format!("{}  {}  {}{remedy}\n", finding.code, finding.subject, finding.detail));
    }
    if let Some(lost) = &report.lost {
        text.push_str(&describe(lost));
    }
    match (&report.kept, report.findings.len()) {
        (Some(kept), _) => text.push_str(&format!("repaired; the journal as it was is {kept}\n")),
        (None, 0) => text.push_str("all is well\n"),
        (None, count) => text.push_str(&format!("{count} found\n")),
    }
    output::text(&text.lines().map(|line| format!("{}\n", harmless(line))).collect::<String>())
}

fn describe(lost: &Lost) -> String {
    let mut text = String::new();
    let mut say = |what: &str, all: Vec<String>| {
        let more = if all.len() > SHOWN_MAX { format!(" and {} more", all.len() - SHOWN_MAX) } else { String::new() };
        if !all.is_empty() {
            text.push_str(&format!("lost: {what} {}{more}\n", all[..all.len().min(SHOWN_MAX)].join(", ")));
        }
    };
    let ranges = |all: &[(u64, u64)]| all.iter().map(|(first, last)| format!("{first} to {last}")).collect::<Vec<_>>();
    say("records", lost.records.clone());
    say("records between", lost.between.iter().map(|(low, high)| format!("{low:?} and {high:?}")).collect());
    say("events", ranges(&lost.events));
    say("some changes of the batches", ranges(&lost.batches));
    if lost.changes_of_unknown_records > 0 {
        say("changes of records that can't be told:", vec![lost.changes_of_unknown_records.to_string()]);
    }
    say("bytes of the data file", lost.bytes.iter().map(|(at, count)| format!("{count} from {at} on")).collect());
    text
}
