//! Words that may stand in no file of the repository: marks of unfinished work, paths of one machine, credits to tools. The list with a reason
//! each is `xtask/tidy/words.txt`, the only file that is not searched.

use anyhow::{Context, ensure};

use super::{File, Problem};

pub(crate) const LIST: &str = "xtask/tidy/words.txt";
/// Must name who will mend it: `FIXME(name)`.
const MARK_WITH_OWNER: &str = "fixme";

#[derive(Debug)]
pub(crate) struct Banned {
    word: String,
    reason: String,
}

/// Lines `WORD = REASON`; `#` begins a comment.
pub(crate) fn parse(text: &str) -> anyhow::Result<Vec<Banned>> {
    let mut banned = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (word, reason) =
            line.split_once(" = ").with_context(|| format!("{LIST}: expected `WORD = REASON`, found: {line}"))?;
        banned.push(Banned { word: word.trim().to_lowercase(), reason: reason.trim().into() });
    }
    ensure!(!banned.is_empty(), "{LIST} is empty");
    Ok(banned)
}

pub(crate) fn check(file: &File, banned: &[Banned]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if file.path == LIST {
        return problems;
    }
    for (index, line) in file.text.lines().enumerate() {
        let lower = line.to_lowercase();
        for Banned { word, reason } in banned {
            if lower.contains(word.as_str()) {
                problems.push(file.problem(index + 1, format!("`{word}` may not stand here: {reason}")));
            }
        }
        if file.is_rust() && lacks_owner(&lower) {
            problems.push(file.problem(index + 1, "this mark needs an owner: `FIXME(name)`"));
        }
    }
    problems
}

/// In comments only: a string may speak of the mark.
fn lacks_owner(lower: &str) -> bool {
    let Some((_, comment)) = lower.split_once("//") else { return false };
    comment.match_indices(MARK_WITH_OWNER).any(|(at, mark)| {
        let after = &comment[at + mark.len()..];
        !after.starts_with('(') && !comment[..at].ends_with('`')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let banned = parse("# why\nFoo/Bar = a path of one machine\nnot!( = unfinished\n").unwrap();
        check(&File { path: path.into(), text: text.into() }, &banned).len()
    }

    #[test]
    fn a_banned_word_is_found_in_any_case_and_any_file() {
        assert_eq!(count("a.md", "see foo/bar here\n"), 1);
        assert_eq!(count("a.sh", "x\nFOO/BAR\nnot!(y)\n"), 2);
        assert_eq!(count("a.md", "see foo\n"), 0);
    }

    #[test]
    fn the_list_itself_may_name_them() {
        assert_eq!(count(LIST, "foo/bar\n"), 0);
    }

    #[test]
    fn a_mark_needs_its_owner() {
        // Put together, so that this file does not hold what it looks for.
        let comment = |text: &str| count("a.rs", &format!("{}{text}\n", "//"));
        assert_eq!(comment(" FIXME later"), 1);
        assert_eq!(comment(" FIXME(ann): asserts the wrong answer"), 0);
    }

    #[test]
    fn a_list_that_bans_nothing_is_refused() {
        assert!(parse("# only a comment\n").is_err());
        assert!(parse("word without reason\n").is_err());
    }

    #[test]
    fn the_checked_in_list_reads() {
        assert!(parse(include_str!("../../tidy/words.txt")).unwrap().len() > 3);
    }
}
