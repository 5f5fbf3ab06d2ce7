//! The text of a serial console as lines: without the control sequences of terminals, and with a bound.

use std::collections::VecDeque;
use std::rc::Rc;

/// More is nothing that one reads in a browser; the server keeps the rest.
pub const LINES_AT_MOST: usize = 3_000;
/// A guest that never ends its line must not fill the memory.
const LINE_AT_MOST: usize = 4_000;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    lines: VecDeque<Rc<str>>,
    /// The last line, not yet ended.
    open: String,
    escape: Escape,
    cut: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// Inside `ESC [ …`, until a letter.
    Control,
    /// Inside `ESC ] …`, until BEL or ESC.
    Title,
}

impl Log {
    pub fn push(&mut self, text: &str) {
        for c in text.chars() {
            self.escape = match (self.escape, c) {
                (Escape::None, '\u{1b}') | (Escape::Title, '\u{1b}') => Escape::Begun,
                (Escape::None, _) => {
                    self.plain(c);
                    Escape::None
                }
                (Escape::Begun, '[') => Escape::Control,
                (Escape::Begun, ']') => Escape::Title,
                (Escape::Begun, _) => Escape::None,
                (Escape::Control, '\u{40}'..='\u{7e}') => Escape::None,
                (Escape::Title, '\u{07}') => Escape::None,
                (inside, _) => inside,
            };
        }
    }

    fn plain(&mut self, c: char) {
        match c {
            '\n' => self.end_line(),
            '\t' => self.open.push('\t'),
            c if c.is_control() => {}
            c => {
                self.open.push(c);
                if self.open.len() >= LINE_AT_MOST {
                    self.end_line();
                }
            }
        }
    }

    fn end_line(&mut self) {
        self.lines.push_back(std::mem::take(&mut self.open).into());
        if self.lines.len() > LINES_AT_MOST {
            self.lines.pop_front();
            self.cut = true;
        }
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let open = (!self.open.is_empty()).then_some(self.open.as_str());
        self.lines.iter().map(AsRef::as_ref).chain(open)
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.open.is_empty()
    }

    /// Whether earlier lines were dropped.
    pub fn cut(&self) -> bool {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut log = Log::default();
        pieces.iter().for_each(|piece| log.push(piece));
        log.lines().map(str::to_owned).collect()
    }

    #[test]
    fn colours_and_titles_are_left_out_even_when_cut_in_two() {
        assert_eq!(lines(&["\u{1b}[32mok\u{1b}[0m done\r\nnext"]), ["ok done", "next"]);
        assert_eq!(lines(&["a\u{1b}", "[1;3", "1mb\n"]), ["ab"]);
        assert_eq!(lines(&["\u{1b}]0;title\u{7}a", "\u{1b}]2;x\u{1b}\\b"]), ["ab"]);
    }

    #[test]
    fn bounded_in_both_ways() {
        let mut log = Log::default();
        log.push(&"x\n".repeat(LINES_AT_MOST + 5));
        assert_eq!((log.lines().count(), log.cut()), (LINES_AT_MOST, true));
        assert_eq!(lines(&[&"y".repeat(LINE_AT_MOST * 2)]).len(), 2);
    }
}
