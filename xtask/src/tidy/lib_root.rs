//! `lib.rs` holds docs, `mod` and `pub use`, nothing else: it is the table of contents of a crate. Reads it by statement, not by grammar: a
//! statement ends at `;` or at a brace that is no part of a `use`.

use super::{File, Problem};

pub(crate) fn check(file: &File) -> Vec<Problem> {
    if !file.path.ends_with("src/lib.rs") {
        return Vec::new();
    }
    statements(&file.text)
        .into_iter()
        .filter(|(_, statement)| !is_allowed(statement))
        .map(|(line, statement)| {
            let start: String = statement.chars().take(40).collect();
            file.problem(line, format!("lib.rs holds only docs, `mod` and `pub use`; move this into a file of its own: {start}"))
        })
        .collect()
}

fn is_allowed(statement: &str) -> bool {
    let visible = statement.strip_prefix("pub(crate) ").or_else(|| statement.strip_prefix("pub ")).unwrap_or(statement);
    let declares_module = visible.starts_with("mod ") && statement.ends_with(';');
    let exports = statement.starts_with("pub use ") || statement.starts_with("pub(crate) use ");
    declares_module || (exports && statement.ends_with(';'))
}

/// The statements with the line each begins on; comments and attributes left out.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut begun = 0;
    let mut in_attribute = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or("").trim();
        if current.is_empty() && (in_attribute || line.starts_with("#[") || line.starts_with("#![")) {
            // One line, or open until its bracket closes at a line's end.
            in_attribute = !line.ends_with(']');
            continue;
        }
        if line.is_empty() {
            continue;
        }
        if current.is_empty() {
            begun = index + 1;
        } else {
            current.push(' ');
        }
        current.push_str(line);
        let is_use = current.contains("use ");
        if line.ends_with(';') || (!is_use && line.contains(['{', '}'])) {
            found.push((begun, std::mem::take(&mut current)));
        }
    }
    if !current.is_empty() {
        found.push((begun, current));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> usize {
        check(&File { path: "a/src/lib.rs".into(), text: text.into() }).len()
    }

    #[test]
    fn a_table_of_contents_passes() {
        let text = "//! A crate.\n#![cfg_attr(\n    test,\n    allow(x)\n)]\n\n// why\nmod a;\npub mod b;\n#[cfg(test)]\nmod tests;\npub use a::{\n    One,\n    Two,\n};\npub(crate) use b::X;\n";
        assert_eq!(lines(text), 0);
    }

    #[test]
    fn code_is_found() {
        assert_eq!(lines("//! A crate.\npub fn f() -> u8 { 1 }\n"), 1);
        assert_eq!(lines("//! A crate.\nmod a { }\n"), 1);
        assert_eq!(lines("//! A crate.\nuse std::fmt;\n"), 1);
        assert_eq!(lines("//! A crate.\nconst X: u8 = 1;\n"), 1);
        assert!(lines("//! A crate.\nmacro_rules! m {\n  () => {};\n}\n") > 0);
    }

    #[test]
    fn other_files_may_hold_code() {
        assert!(check(&File { path: "a/src/main.rs".into(), text: "fn main() {}".into() }).is_empty());
    }
}
