//! Relative links in Markdown lead to a file or folder that is there. Links out of the repository are not followed: no check of ours needs a
//! network. Anchors within a page are not checked.

use super::{File, Problem};

pub(crate) fn check(file: &File, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !file.path.ends_with(".md") {
        return problems;
    }
    let mut in_code = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            match resolve(&file.path, &target) {
                Some(path) if exists(&path, files) => {}
                _ => problems.push(file.problem(index + 1, format!("this link leads nowhere: {target}"))),
            }
        }
    }
    problems
}

/// What `[text](target)` and `![text](target "title")` point to, without the anchor; only relative ones.
fn targets(line: &str) -> Vec<String> {
    // What stands in backticks is code and no link.
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let after_each = prose.split("](").skip(1);
    after_each
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|target| target.split('#').next().unwrap_or("").to_string())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// The path in the repository; `None` when it leads out of it.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// A file that is no text (a picture) is looked for on the disk, since `files` holds texts only.
fn exists(path: &str, files: &[File]) -> bool {
    let below = format!("{path}/");
    path.is_empty()
        || files.iter().any(|file| file.path == path || file.path.starts_with(&below))
        || crate::repository().join(path).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let page = File { path: "docs/page.md".into(), text: text.into() };
        let other = File { path: "docs/adr/0001-one.md".into(), text: String::new() };
        let files = [page.clone(), other];
        check(&page, &files).len()
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        assert_eq!(count("see [it](gone.md) and [that](adr/0002-two.md#part)\n"), 2);
        assert_eq!(count("![picture](../no/such.png \"title\")\n"), 1);
        assert_eq!(count("[out](../../outside.md)\n"), 1);
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text =
            "[a](adr/0001-one.md#x) [b](./adr/) [c](../docs/page.md) [d](#here) [e](https://example.org/x) [f](/docs/page.md)\n";
        assert_eq!(count(text), 0);
    }

    #[test]
    fn code_is_no_link() {
        assert_eq!(count("```\n[x](gone.md)\n```\n`[y](gone.md)`\n"), 0);
    }
}
