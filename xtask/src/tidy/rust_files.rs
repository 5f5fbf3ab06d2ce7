//! What holds for each Rust file: it begins with its `//!` doc, and it is not called `mod.rs` (`foo.rs` beside `foo/` instead).

use super::{File, Problem};

pub(crate) fn check(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !file.is_rust() {
        return problems;
    }
    if !file.text.starts_with("//!") {
        problems.push(file.problem(1, "a Rust file begins with `//!`: say what it owns and what it does not"));
    }
    if file.path.rsplit('/').next() == Some("mod.rs") {
        problems.push(file.problem(1, "no mod.rs: put it into FOLDER.rs beside the folder"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&File { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn a_file_without_a_doc_is_found() {
        assert_eq!(count("a/src/b.rs", "use std::fmt;\n"), 1);
        assert_eq!(count("a/src/b.rs", "// a comment\n//! too late\n"), 1);
        assert_eq!(count("a/src/b.rs", ""), 1);
        assert_eq!(count("a/src/b.rs", "//! Owns b.\n"), 0);
        assert_eq!(count("a/README.md", "no doc\n"), 0);
    }

    #[test]
    fn mod_rs_is_found_wherever_it_is() {
        assert_eq!(count("a/src/b/mod.rs", "//! b\n"), 1);
        assert_eq!(count("a/src/my_mod.rs", "//! b\n"), 0);
    }
}
