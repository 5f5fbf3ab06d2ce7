//! Runs every check over the tree and prints what it finds, one `file:line: message` a line. Each check is a function of texts, so that its
//! tests need no folder; only `tree` reads the disk.

mod edges;
mod lib_root;
mod links;
mod rust_files;
mod tree;
mod words;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
pub(crate) use tree::{File, Problem};

pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let files = tree::read(root).with_context(|| format!("read the tree below {}", root.display()))?;
    let problems = check(&files)?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} files, {} problems", files.len(), problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(files: &[File]) -> anyhow::Result<Vec<Problem>> {
    let banned = words::parse(text_of(files, words::LIST)?)?;
    let rules = edges::parse(text_of(files, edges::LIST)?)?;
    let mut problems = Vec::new();
    for file in files {
        problems.extend(rust_files::check(file));
        problems.extend(lib_root::check(file));
        problems.extend(words::check(file, &banned));
        problems.extend(links::check(file, files));
    }
    problems.extend(edges::check(files, &rules));
    problems.sort();
    Ok(problems)
}

fn text_of<'a>(files: &'a [File], path: &str) -> anyhow::Result<&'a str> {
    let file = files.iter().find(|file| file.path == path).with_context(|| format!("{path} is missing"))?;
    Ok(&file.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    fn small_tree(lib: &str) -> Vec<File> {
        vec![
            file(words::LIST, "badword = not here\n"),
            file(edges::LIST, "a: - | tokio\n"),
            file("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"),
            file("a/Cargo.toml", "[package]\nname = \"a\"\n"),
            file("a/src/lib.rs", lib),
        ]
    }

    #[test]
    fn a_clean_tree_has_no_problem() {
        assert_eq!(check(&small_tree("//! A crate.\npub mod b;\n")).unwrap(), []);
    }

    #[test]
    fn every_check_is_wired_in() {
        let mut files = small_tree("fn f() {} // badword\n");
        files.push(file("README.md", "[gone](docs/gone.md)\n"));
        files.push(file("a/src/x/mod.rs", "//! x\n"));
        files.push(file("b/Cargo.toml", "[package]\nname = \"b\"\n"));
        let found: Vec<String> = check(&files).unwrap().iter().map(ToString::to_string).collect();
        for part in ["begins with `//!`", "mod.rs", "only docs", "not here", "docs/gone.md", "b/Cargo.toml"] {
            assert!(found.iter().any(|line| line.contains(part)), "no problem says {part}: {found:#?}");
        }
    }

    #[test]
    fn a_missing_list_is_an_error_and_not_a_pass() {
        assert!(check(&[]).is_err());
    }
}
