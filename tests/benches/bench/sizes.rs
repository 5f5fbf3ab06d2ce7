//! What is carried over the wire or into a guest: sizes of the agent and of the console as the build left them.

use super::stats::Row;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const KIB: f64 = 1024.0;
/// FIGURES: at most 1.2 MiB and 350 KiB.
const AGENT_MOST_KIB: f64 = 1.2 * 1024.0;
const CONSOLE_MOST_KIB: f64 = 350.0;
/// Fetched when a terminal is opened, not before.
const LATER: [&str; 2] = ["xterm", "term.js"];

pub fn run() -> Result<Vec<Row>> {
    let dir = std::env::var_os("HEARTH_EMBED_DIR").map_or_else(|| PathBuf::from("target/embed"), PathBuf::from);
    let agent = dir.join("hearth-agent").metadata().context("the agent is not built: run `make bench`")?.len() as f64 / KIB;
    let (mut first, mut terminal) = (0.0, 0.0);
    each_compressed(&dir.join("console"), &mut |path, bytes| {
        let later = LATER.iter().any(|part| path.to_string_lossy().contains(part));
        *if later { &mut terminal } else { &mut first } += bytes as f64 / KIB;
    })
    .context("the console is not built: run `make bench`")?;
    Ok(vec![
        Row::one("guest agent, static binary", "KiB", agent).target("<= 1.2 MiB", agent <= AGENT_MOST_KIB),
        Row::one("console before a terminal is opened, brotli", "KiB", first).target("<= 350 KiB", first <= CONSOLE_MOST_KIB),
        Row::one("console, what a terminal adds, brotli", "KiB", terminal),
    ])
}

fn each_compressed(dir: &Path, see: &mut impl FnMut(&Path, u64)) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_compressed(&entry.path(), see)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "br") {
            see(&entry.path(), entry.metadata()?.len());
        }
    }
    Ok(())
}
