//! A server under random load, with the users' ledger and the checker that holds it to that: load, an end at a random moment, a start, a look.

use crate::{
    Options, Server,
    dice::Dice,
    load::{Counts, Ledger, Load, User},
};
use anyhow::{Context, Result, ensure};
use api::problem::Problem;
use checker::{Failures, Finding, Target};
use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// All that was begun has ended by then: real guests boot for some seconds, on a busy machine for many.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
/// What is not at rest by then is told, and awaited all the same.
const SLOW_AFTER: Duration = Duration::from_secs(15);
/// In the server's environment, and so in that of whatever it starts.
const MARK: &str = "HEARTH_CHAOS_MARK";

pub struct Stage {
    pub server: Server,
    users: Vec<User>,
    ledger: Ledger,
    path: PathBuf,
    mark: String,
    bridge: Option<String>,
    failures: Failures,
    pub dice: Dice,
    pub since: Instant,
    _folder: tempfile::TempDir,
}

impl Options {
    /// Marks whatever the server starts, so that the checker knows it; for [`Stage::set`].
    pub fn marked(mut self, seed: u64) -> Options {
        self.environment.push((MARK.to_owned(), format!("{}-{seed}-{}", std::process::id(), self.vmm)));
        self
    }
}

impl Stage {
    /// `server` was started with options that were marked with the same seed.
    pub fn set(server: Server, load: &Load, seed: u64, failures: Failures) -> Result<Stage> {
        let folder = tempfile::Builder::new().prefix("hearth-ledger-").tempdir()?;
        let path = folder.path().join("ledger");
        let ledger = Ledger::open(&path)?;
        let user = |n: u64| {
            let (name, seed) = (format!("user{n}"), seed.wrapping_mul(1009).wrapping_add(n));
            User::new(name, server.client().clone(), seed, load.clone(), failures, ledger.clone())
        };
        let users = (0..load.users).map(user).collect();
        let options = server.options();
        let mark = options.environment.iter().find(|(key, _)| key == MARK).map(|(key, value)| format!("{key}={value}"));
        let mark = mark.context("the server's environment is not marked")?;
        let bridge = options.network.then(|| server.bridge());
        Ok(Stage {
            server,
            users,
            ledger,
            path,
            mark,
            bridge,
            failures,
            dice: Dice::new(seed),
            since: Instant::now(),
            _folder: folder,
        })
    }

    pub fn target(&self) -> Result<Target> {
        Ok(Target {
            data_dir: self.server.data_dir().to_owned(),
            url: self.server.url(),
            token: self.server.token()?,
            server: self.server.pid(),
            environment: Some(self.mark.clone()),
            bridge: self.bridge.clone(),
            ledger: Some(self.path.clone()),
            failures: self.failures,
        })
    }

    /// The users go on until `for_ms` have passed, and then `end` comes over the server while they do.
    pub async fn under_load(&mut self, for_ms: u64, end: impl AsyncFnOnce(&mut Server, &Ledger) -> Result<()>) -> Result<()> {
        let stop = watch::Sender::new(false);
        let (server, users, ledger) = (&mut self.server, &mut self.users, &self.ledger);
        let work = users.iter_mut().map(|user| {
            let mut stop = stop.subscribe();
            async move { user.go(&mut stop).await }
        });
        let over = async {
            tokio::time::sleep(Duration::from_millis(for_ms)).await;
            let ended = end(server, ledger).await;
            stop.send_replace(true);
            ended
        };
        let (work, over) = tokio::join!(futures_util::future::join_all(work), over);
        work.into_iter().collect::<Result<()>>()?;
        over
    }

    /// One round: load, `kill -9`, perhaps more of them while it recovers, a start, what was not answered asked again, a look.
    pub async fn round(&mut self, number: u64, longest_ms: u64) -> Result<()> {
        let after = self.dice.below(longest_ms);
        let mut told = format!("after round {number}, killed after {after} ms");
        self.under_load(after, async |server, _| server.kill().await).await.with_context(|| format!("round {number}"))?;
        while self.dice.below(3) == 0 {
            let early = self.dice.below(400);
            told.push_str(&format!(", and {early} ms into its recovery"));
            self.server.begin()?;
            tokio::time::sleep(Duration::from_millis(early)).await;
            self.server.kill().await?;
        }
        self.server.up().await.with_context(|| told.clone())?;
        self.repeat().await.with_context(|| told.clone())?;
        self.check(&told).await
    }

    pub async fn repeat(&mut self) -> Result<()> {
        for user in &mut self.users {
            user.repeat().await?;
        }
        Ok(())
    }

    /// Nothing is lost, nothing is left over; from here on the users know again what is there.
    pub async fn check(&mut self, what: &str) -> Result<()> {
        let mut found = checker::settle(&self.target()?, SLOW_AFTER).await.with_context(|| what.to_owned())?;
        if !found.is_empty() {
            println!("{what}, after {SLOW_AFTER:?} still:\n{}", lines(&found));
            found = checker::settle(&self.target()?, SETTLED_WITHIN).await.with_context(|| what.to_owned())?;
        }
        ensure!(found.is_empty(), "{what}, the checker finds:\n{}", lines(&found));
        for user in &mut self.users {
            user.take_stock().await?;
        }
        Ok(())
    }

    /// At the very end: what is durable is whole, as `hearth fsck` sees it.
    pub async fn fsck(&mut self) -> Result<()> {
        self.server.kill().await?;
        let mut command = Command::new(&self.server.machine().hearth);
        let output = command.arg("fsck").arg(self.server.data_dir()).output()?;
        ensure!(output.status.success(), "hearth fsck: {}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    pub fn counts(&self) -> Counts {
        self.users.iter().fold(Counts::default(), |all, user| Counts {
            asked: all.asked + user.counts.asked,
            acknowledged: all.acknowledged + user.counts.acknowledged,
            repeated: all.repeated + user.counts.repeated,
        })
    }
}

fn lines(found: &[Finding]) -> String {
    found.iter().map(|finding| format!("  {finding}\n")).collect()
}

/// What is asked of a refusal on a machine that has not what it needs: it is told apart from a bug, and says what to do.
pub fn clear(refusals: &[Problem]) -> Result<()> {
    let unclear = |problem: &&Problem| problem.status == 500 || problem.code == "internal" || problem.hint.is_empty();
    match refusals.iter().find(unclear) {
        Some(problem) => anyhow::bail!("that is no clear refusal: {problem:?}"),
        None => Ok(()),
    }
}
