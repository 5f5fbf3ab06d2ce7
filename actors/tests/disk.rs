//! A disk that takes no more: every command is answered with that, nothing is half-done, and a new start has all that was answered.
//!
//! The child is this test binary run again with SIGXFSZ ignored, under a limit on the size of a file that it sets itself, so that the
//! kernel refuses the journal's write in the middle of the work.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

#[path = "support/lab.rs"]
mod lab;

use actors::{CommandError, NewWebhook, Node};
use domain::{
    Generation, Labels, VmId, WebhookId,
    vm::{Change, Command, StopMode},
    webhook,
};
use host::secret::{FileSecrets, Secret};
use lab::{Lab, ask, made, row, state, vm, who};
use std::{process::Command as Process, sync::Arc};

const DIR: &str = "HEARTH_ACTORS_DISK_TEST_DIR";
/// Updates until the limit is reached; each writes some hundred bytes, and the limit leaves room for a megabyte.
const TRIES: u32 = 20_000;

fn labels(round: u32) -> Command {
    let labels = Labels::from([("round".to_owned(), round.to_string()), ("ballast".to_owned(), "x".repeat(200))]);
    Command::Update(Change { labels: Some(Box::new(labels)), ..Change::default() })
}

fn round(node: &Node, id: VmId) -> u32 {
    row(node, id).record.labels.get("round").map_or(0, |text| text.parse().unwrap())
}

const OLD: &[u8] = b"the secret it was made with";
const NEW: &[u8] = b"the secret of an update that failed";

fn with_secrets(mut lab: Lab) -> Lab {
    lab.webhooks.secrets = Arc::new(FileSecrets::new(lab.dir.path().join("secrets")));
    lab
}

async fn made_webhook(node: &Node) -> WebhookId {
    let new = NewWebhook { secret: Secret::new(OLD.to_vec()), ..lab::webhook("w") };
    node.create_webhook(new, who()).await.unwrap().resource.id
}

async fn secret(node: &Node, id: WebhookId) -> (Generation, Vec<u8>) {
    let record = node.view().webhook(id).unwrap();
    (record.generation, node.secret_of(&record).await.unwrap().unwrap().reveal().to_vec())
}

/// Not a test of its own: does nothing when run with the others.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let lab = with_secrets(Lab { dir: tempfile::TempDir::with_prefix_in("child", &dir).unwrap(), ..Lab::new() });
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    let hook = made_webhook(&node).await;
    let size = lab.dir.path().join("journal").read_dir().unwrap().map(|file| file.unwrap().metadata().unwrap().len()).max();
    let limit = size.unwrap() + (1 << 20);
    let limited = Process::new("prlimit").arg(format!("--pid={}", std::process::id())).arg(format!("--fsize={limit}")).status();
    assert!(limited.unwrap().success());
    let mut answered = 0;
    let error = loop {
        assert!(answered < TRIES, "the limit is never reached");
        match ask(&node, id, labels(answered + 1)).await {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommandError::Storage { .. }), "{error:?}");
    let before = row(&node, id).record;
    assert_eq!(round(&node, id), answered, "what was not answered is not shown");
    for command in [labels(0), Command::Pause, Command::Stop(StopMode::Force), Command::Delete { force: true }] {
        assert!(matches!(ask(&node, id, command).await, Err(CommandError::Storage { .. })));
    }
    assert!(matches!(node.create_vm(vm("b", true), who()).await, Err(CommandError::Storage { .. })));
    assert_eq!((row(&node, id).record, state(&node, id), node.held()), (before, "running", (1, 128)));
    assert!(node.guest(id).await.is_ok(), "the guest goes on");
    assert!(node.view().find_vm(&lab::name("default"), &lab::name("b")).is_none());
    // A file of its own has room yet: it is there, but no record names it.
    let mend = webhook::Command::Update(webhook::Change::default());
    let mended = node.command_webhook(hook, mend, Some(Secret::new(NEW.to_vec())), who()).await;
    assert!(matches!(mended, Err(CommandError::Storage { .. })), "{mended:?}");
    assert_eq!(secret(&node, hook).await, (Generation(1), OLD.to_vec()), "signed with a secret that nobody was told to take");
    assert_eq!(lab.dir.path().join("secrets").read_dir().unwrap().count(), 2);
    node.stop().await;
    drop(node);
    let path = lab.dir.keep();
    std::fs::write(std::path::Path::new(&dir).join("outcome"), format!("{answered} {id} {hook} {}", path.display())).unwrap();
}

#[tokio::test]
async fn a_full_disk_answers_storage_and_a_new_start_has_all_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let output = Process::new("env")
        .arg("--ignore-signal=XFSZ")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    let outcome = std::fs::read_to_string(dir.path().join("outcome")).unwrap();
    let mut words = outcome.split_whitespace();
    let answered: u32 = words.next().unwrap().parse().unwrap();
    let id: VmId = words.next().unwrap().parse().unwrap();
    let hook: WebhookId = words.next().unwrap().parse().unwrap();
    assert!(answered > 10, "only {answered} updates before the limit");

    // Where the child was; the folder above is removed with all that is in it.
    let lab = with_secrets(Lab { dir: tempfile::tempdir().unwrap(), ..Lab::new() });
    let left = std::path::PathBuf::from(words.next().unwrap());
    copy(&left, lab.dir.path());
    let node = lab.start().await;
    let found = round(&node, id);
    // The one that failed may be there, whole, or not at all.
    assert!(found == answered || found == answered + 1, "{answered} were answered, {found} is there");
    assert_eq!((state(&node, id), node.view().vm_count()), ("running", 1));
    // Whichever record there is has the secret that came with it, and the other is gone.
    let expected = [(Generation(1), OLD.to_vec()), (Generation(2), NEW.to_vec())];
    let found = secret(&node, hook).await;
    assert!(expected.contains(&found), "{found:?}");
    assert_eq!(lab.dir.path().join("secrets").read_dir().unwrap().count(), 1, "what no record names is swept");
    lab::carry_out(&node, id, lab::graceful()).await;
    node.stop().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(Process::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
}
