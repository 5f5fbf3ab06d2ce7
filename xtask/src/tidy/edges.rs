//! Which crate may use which: every Cargo.toml against the checked-in list `xtask/tidy/edges.txt`. A crate that the list does not name is a
//! problem too: a new crate or a new edge is decided, not drifted into. Dependencies of tests and build scripts count like any other.

mod manifest;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use manifest::{Dependency, Workspace};

use super::{File, Problem};

pub(crate) const LIST: &str = "xtask/tidy/edges.txt";

/// Folder of a crate -> what it may and must not use.
pub(crate) type Rules = BTreeMap<String, Rule>;

#[derive(Debug)]
pub(crate) struct Rule {
    /// Of our own crates, by folder.
    may: Vec<String>,
    /// Of everybody else's, by package; a `name/feature` forbids only the feature.
    must_not: Vec<String>,
}

/// Lines `FOLDER: OURS... | NOT THESE...`, `-` for none; `#` begins a comment.
pub(crate) fn parse(text: &str) -> anyhow::Result<Rules> {
    let mut rules = Rules::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (folder, rest) =
            line.split_once(':').with_context(|| format!("{LIST}: expected `FOLDER: ... | ...`, found: {line}"))?;
        let (may, must_not) = rest.split_once('|').with_context(|| format!("{LIST}: no `|` in: {line}"))?;
        let names = |part: &str| part.split_whitespace().filter(|name| *name != "-").map(str::to_owned).collect();
        rules.insert(folder.trim().into(), Rule { may: names(may), must_not: names(must_not) });
    }
    ensure!(!rules.is_empty(), "{LIST} is empty");
    Ok(rules)
}

pub(crate) fn check(files: &[File], rules: &Rules) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { continue };
        let Some(rule) = rules.get(folder) else {
            problems.push(file.problem(1, format!("{LIST} has no line for `{folder}`: decide what it may use")));
            continue;
        };
        match manifest::dependencies(folder, &file.text, &workspace_of(folder, files)) {
            Ok(found) => problems.extend(found.iter().filter_map(|one| judge(file, folder, rule, one))),
            Err(reason) => problems.push(file.problem(1, format!("does not read as TOML: {reason}"))),
        }
    }
    problems
}

/// The nearest folder from the crate's own upwards whose Cargo.toml has a `[workspace]`: its shared table is the one that counts.
fn workspace_of<'a>(folder: &'a str, files: &'a [File]) -> Workspace<'a> {
    let mut at = folder;
    loop {
        let path = if at.is_empty() { "Cargo.toml".to_owned() } else { format!("{at}/Cargo.toml") };
        let manifest = files.iter().find(|file| file.path == path);
        match manifest.filter(|file| file.text.lines().any(|line| line.starts_with("[workspace"))) {
            Some(file) => return Workspace { folder: at, text: &file.text },
            None if at.is_empty() => return Workspace { folder: "", text: "" },
            None => at = at.rsplit_once('/').map_or("", |(above, _)| above),
        }
    }
}

fn judge(file: &File, folder: &str, rule: &Rule, dependency: &Dependency) -> Option<Problem> {
    let line = line_of(&file.text, &dependency.key);
    if let Some(ours) = &dependency.folder {
        let allowed = rule.may.contains(ours);
        return (!allowed).then(|| file.problem(line, format!("`{folder}` may not use `{ours}` ({LIST})")));
    }
    let forbidden = rule.must_not.iter().find(|banned| match banned.split_once('/') {
        Some((package, feature)) => dependency.package == package && dependency.features.iter().any(|one| one == feature),
        None => dependency.package == **banned,
    })?;
    Some(file.problem(line, format!("`{folder}` may not use `{forbidden}` ({LIST})")))
}

fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '.', '=', ']']));
    text.lines().position(begins).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests;
