//! Tables: aligned, without borders, cut to the terminal's width. Pure: text in, text out.

use super::style::{Colour, harmless, paint};

/// Between two columns.
const GAP: &str = "  ";
/// A column is never cut to fewer characters than these.
const NARROWEST: usize = 6;

#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    pub fn coloured(text: &str, colour: Option<Colour>) -> Cell {
        Cell { text: harmless(text), colour }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::coloured(text, None)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::from(text.as_str())
    }
}

#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(header: &[&'static str]) -> Table {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    /// As many cells as the header has.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(cells);
    }

    /// `width` in characters; `None`: as wide as it is.
    pub fn render(&self, width: Option<usize>, colour: bool) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        let header: Vec<Cell> = self.header.iter().map(|name| Cell::coloured(name, Some(Colour::Bold))).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            text.push_str(&line(row, &widths, colour));
            text.push('\n');
        }
        text
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.chars().count()).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                widths[column] = widths[column].max(cell.text.chars().count());
            }
        }
        let Some(width) = width else { return widths };
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        // The widest column gives way, a character at a time, so that long names do not push out the short facts.
        while widths.iter().sum::<usize>() + gaps > width {
            match widths.iter_mut().max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

fn line(row: &[Cell], widths: &[usize], colour: bool) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let last = column + 1 == row.len();
        let cut = cut(&cell.text, *width);
        let padding = if last { 0 } else { width - cut.chars().count() };
        match cell.colour {
            Some(look) if !cut.is_empty() => text.push_str(&paint(colour, look, &cut)),
            _ => text.push_str(&cut),
        }
        text.extend(std::iter::repeat_n(' ', padding));
        if !last {
            text.push_str(GAP);
        }
    }
    text.trim_end().to_owned()
}

/// At most `width` characters, the last one an ellipsis if something was left out.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "IMAGE"]);
        table.row(vec!["a".into(), Cell::coloured("running", Some(Colour::Green)), "busybox".into()]);
        table.row(vec!["a-very-long-name-indeed".into(), "stopped".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let text = table().render(None, false);
        assert_eq!(
            text,
            "NAME                     STATE    IMAGE\na                        running  busybox\na-very-long-name-indeed  stopped\n"
        );
    }

    #[test]
    fn the_widest_column_gives_way() {
        let text = table().render(Some(30), false);
        assert!(text.contains("a-very-long…  stopped"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        // Narrower than anything can be: cut as far as sensible, not further.
        assert!(table().render(Some(3), false).contains("a-ver…"));
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let text = table().render(None, true);
        assert!(text.contains("\x1b[32mrunning\x1b[0m  busybox"), "{text:?}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["X"]);
        table.row(vec!["a\x1b[2Jb\n".into()]);
        assert_eq!(table.render(None, false), "X\na?[2Jb?\n");
    }
}
