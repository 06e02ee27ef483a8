//! Targets, out of a table in Markdown whose second column is called `target`.
//!
//! They stand on the page as they are written, with what was measured for them where they are documented: the words of
//! a document do not say which number of a result they mean.

use super::html::escaped;

/// A table in Markdown.
#[derive(Debug, PartialEq)]
pub(super) struct Targets {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Targets {
    /// The first table with targets, if there is one.
    pub(super) fn of(markdown: &str) -> Option<Self> {
        let mut lines = markdown.lines();
        let head = lines.by_ref().map(cells).find(|cells| cells.get(1).is_some_and(|name| name == "target"))?;
        let rows = lines.skip(1).map(cells).take_while(|cells| !cells.is_empty());
        Some(Self { rows: rows.collect(), head })
    }

    /// The table on the page.
    pub(super) fn html(&self) -> String {
        let heads: String = self.head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escaped(name))).collect();
        let row = |cells: &Vec<String>| -> String {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>")
        };
        let rows: String = self.rows.iter().map(row).collect();
        format!(
            "<section id=\"targets\"><h2>targets</h2><p class=\"about\">As documented. What is measured here was measured on \
             the machine that the documentation names, not in this run.</p>\n<div class=\"wide\"><table class=\"targets\">\
             <thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
        )
    }
}

/// Cells of a line of a table, without the marks of code. None for any other line.
fn cells(line: &str) -> Vec<String> {
    let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { return Vec::new() };
    inner.split('|').map(|cell| cell.trim().replace('`', "")).collect()
}
