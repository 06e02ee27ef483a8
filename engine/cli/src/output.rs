//! Output that people and scripts read: times, names, tables, colours.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use serde::Serialize;
use tapeline_reader::{Kind, SessionId, kinds};

/// Colours, where they are wanted: on a terminal, unless NO_COLOR is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    coloured: bool,
}

impl Style {
    /// The style of a stream.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: !refused && stream.is_terminal() }
    }

    /// Something wrong.
    pub(crate) fn bad(self, text: &str) -> Cow<'_, str> {
        self.paint("1;31", text)
    }

    /// Something in order.
    pub(crate) fn good(self, text: &str) -> Cow<'_, str> {
        self.paint("32", text)
    }

    /// A heading or label.
    pub(crate) fn strong(self, text: &str) -> Cow<'_, str> {
        self.paint("1", text)
    }

    /// True if it has colours.
    pub(crate) fn is_coloured(self) -> bool {
        self.coloured
    }

    fn paint<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        if self.coloured { Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")) } else { Cow::Borrowed(text) }
    }
}

/// A time in nanoseconds since 1970 as RFC 3339, in UTC.
pub(crate) fn time(nanoseconds: u64) -> String {
    // Every u64 of nanoseconds lies before the year 2555, within the range of the type.
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_or_else(|_| nanoseconds.to_string(), |time| format!("{time:.9}"))
}

/// Name of a kind; its number where it has none.
pub(crate) fn kind(kind: Kind) -> Cow<'static, str> {
    kinds::name(kind).map_or_else(|| Cow::Owned(kind.to_string()), Cow::Borrowed)
}

/// The text that stands for a session: its name, else its id, `-` for none.
pub(crate) fn session(name: Option<&str>, id: SessionId) -> String {
    match name {
        Some(name) => printable(name),
        None if id == SessionId::NONE => "-".to_owned(),
        None => id.to_string(),
    }
}

/// Text for one line of a terminal: line ends and other control characters are escaped, and so are characters that
/// are not seen and change what is: marks of direction, of zero width, and the separators of lines and paragraphs.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control if control.is_control() || is_unseen(control) => {
                // Writing to a string does not fail.
                let _ = write!(line, "\\u{{{:x}}}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line
}

/// True if a character shows nothing of itself. A joiner within text is one, too: emoji of several parts are shown
/// apart.
fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Prints one JSON object on a line of its own.
pub(crate) fn json(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// The alignment of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Widest column. A longer cell stands in full, and moves the rest of its own row alone.
const COLUMN_MAX: usize = 100;

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row at the end. It is one line, whatever the cells hold.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)));
    }

    /// Prints heading and rows, each column as wide as its widest cell, up to 100 characters.
    pub(crate) fn print(&self, out: &mut impl Write, style: Style) -> io::Result<()> {
        let mut widths = self.columns.map(|(heading, _)| heading.len());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count().min(COLUMN_MAX));
            }
        }
        let heading = self.line(self.columns.map(|(heading, _)| heading), &widths);
        writeln!(out, "{}", style.strong(&heading))?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{}", self.line(row.each_ref().map(String::as_str), &widths)))
    }

    fn line(&self, cells: [&str; N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), &width) in cells.iter().zip(&self.columns).zip(widths) {
            let gap = if line.is_empty() { "" } else { "  " };
            let _ = match align {
                Align::Left => write!(line, "{gap}{cell:<width$}"),
                Align::Right => write!(line, "{gap}{cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(time(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(time(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("data: é\r\n\t\x1b[31m\u{9b}"), "data: é\\r\\n\\t\\u{1b}[31m\\u{9b}");
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{200b}d\u{2028}"), "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{2028}");
        assert_eq!(printable("\u{feff}\u{e0041}שלום नमस्ते"), "\\u{feff}\\u{e0041}שלום नमस्ते");
    }

    #[test]
    fn sessions_are_named_by_name_then_id() {
        assert_eq!(session(Some("a\nb"), SessionId(7)), "a\\nb");
        assert_eq!(session(None, SessionId(7)), "00000000000000000000000000000007");
        assert_eq!(session(None, SessionId::NONE), "-");
    }

    #[test]
    fn kinds_without_a_name_are_numbers() {
        assert_eq!(kind(kinds::TOOL_CALL), "tool_call");
        assert_eq!(kind(Kind(4711)), "4711");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("NAME", Align::Left), ("N", Align::Right), ("END", Align::Left)]);
        table.row(["a".into(), "100".into(), "x".into()]);
        table.row(["größer".into(), "1".into(), String::new()]);
        let mut out = Vec::new();
        table.print(&mut out, Style { coloured: false }).expect("print");
        assert_eq!(String::from_utf8(out).expect("text"), "NAME      N  END\na       100  x\ngrößer    1\n");
    }

    #[test]
    fn long_cell_stands_in_full_and_widens_no_other_row() {
        let long = "x".repeat(70_000);
        let mut table = Table::new([("NAME", Align::Left), ("N", Align::Right)]);
        table.row(["a".into(), "1".into()]);
        table.row([long.clone(), "2".into()]);
        let mut out = Vec::new();
        table.print(&mut out, Style { coloured: false }).expect("print");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines[1].len(), lines[2]), (COLUMN_MAX + 3, &*format!("{long}  2")));
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Style { coloured: true }.bad("no"), "\x1b[1;31mno\x1b[0m");
        assert_eq!(Style { coloured: false }.bad("no"), "no");
    }
}
