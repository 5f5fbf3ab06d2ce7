//! Reads what a Cargo.toml depends on: all kinds of sections, for all platforms, with `workspace = true` looked up in the shared table.

use toml_edit::{Document, Item, TableLike};

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// One entry of a section. `folder` is set for crates of this repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) key: String,
    pub(super) package: String,
    pub(super) folder: Option<String>,
    pub(super) features: Vec<String>,
}

/// The manifest that holds the shared table, and the folder that its paths begin at.
pub(super) struct Workspace<'a> {
    pub(super) folder: &'a str,
    pub(super) text: &'a str,
}

/// Errors: the text is no TOML; the message is the parser's.
pub(super) fn dependencies(folder: &str, text: &str, workspace: &Workspace<'_>) -> Result<Vec<Dependency>, String> {
    let manifest = Document::parse(text).map_err(|error| error.to_string())?;
    let shared = Document::parse(workspace.text).map_err(|error| error.to_string())?;
    let shared = Shared { folder: workspace.folder, table: shared.get("workspace").and_then(|item| item.get("dependencies")) };
    let mut found = Vec::new();
    collect(folder, manifest.as_table(), &shared, &mut found);
    if let Some(targets) = manifest.get("target").and_then(Item::as_table_like) {
        for (_, target) in targets.iter() {
            if let Some(table) = target.as_table_like() {
                collect(folder, table, &shared, &mut found);
            }
        }
    }
    Ok(found)
}

struct Shared<'a> {
    folder: &'a str,
    table: Option<&'a Item>,
}

fn collect(folder: &str, table: &dyn TableLike, shared: &Shared<'_>, found: &mut Vec<Dependency>) {
    for section in SECTIONS {
        let Some(entries) = table.get(section).and_then(Item::as_table_like) else { continue };
        found.extend(entries.iter().map(|(key, item)| read(folder, key, item, shared)));
    }
}

fn read(folder: &str, key: &str, item: &Item, shared: &Shared<'_>) -> Dependency {
    let from_workspace = item.get("workspace").and_then(Item::as_bool) == Some(true);
    let common = shared.table.filter(|_| from_workspace).and_then(|table| table.get(key));
    let text = |name: &str| item.get(name).or_else(|| common?.get(name)).and_then(Item::as_str).map(str::to_owned);
    // A path of the shared table begins at the workspace's folder, one of the crate's own in its own.
    let base = if common.and_then(|entry| entry.get("path")).is_some() { shared.folder } else { folder };
    let features = [Some(item), common].into_iter().flatten().filter_map(|item| item.get("features")).filter_map(Item::as_array);
    Dependency {
        key: key.into(),
        package: text("package").unwrap_or_else(|| key.into()),
        folder: text("path").map(|path| join(base, &path)),
        features: features.flat_map(|list| list.iter()).filter_map(|value| value.as_str()).map(str::to_owned).collect(),
    }
}

fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}
