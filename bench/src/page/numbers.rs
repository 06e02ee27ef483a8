//! Every number of a scenario in tables: results with the same figures share one.

use super::html::{escaped, shown};
use super::parameters::Parameters;
use super::results::Measured;
use crate::harness::report::Fields;
use crate::harness::table::{plain, quantity};

/// A part of a result.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Param,
    Figure,
    Limit,
    Ratio,
}

impl Part {
    const MEASURED: [Self; 3] = [Self::Figure, Self::Limit, Self::Ratio];

    fn of(self, row: &Measured) -> &Fields {
        match self {
            Self::Param => &row.params,
            Self::Figure => &row.figures,
            Self::Limit => &row.limits,
            Self::Ratio => &row.ratios,
        }
    }
}

/// A column: a name in a part of a result.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Column<'a> {
    part: Part,
    name: &'a str,
}

/// The tables.
pub(super) fn html(rows: &[&Measured], parameters: &Parameters<'_>) -> String {
    let mut groups: Vec<Vec<&Measured>> = Vec::new();
    for row in rows {
        let has_same_figures =
            |group: &&mut Vec<&Measured>| group.first().is_some_and(|first| figures(first).eq(figures(row)));
        match groups.iter_mut().find(has_same_figures) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    let tables: String = groups.iter().map(|group| table(group, parameters)).collect();
    format!("<h3>all numbers</h3>\n{tables}")
}

fn figures(row: &Measured) -> impl Iterator<Item = &str> {
    row.figures.iter().map(|(name, _)| name)
}

fn table(rows: &[&Measured], parameters: &Parameters<'_>) -> String {
    let params = parameters.distinct().iter().map(|name| Column { part: Part::Param, name });
    let mut columns: Vec<Column<'_>> = params.filter(|column| rows.iter().any(|row| column.is_in(row))).collect();
    for part in Part::MEASURED {
        for (name, _) in rows.iter().flat_map(|row| part.of(row).iter()) {
            if !columns.contains(&Column { part, name }) {
                columns.push(Column { part, name });
            }
        }
    }
    let heads: String = columns.iter().map(|column| column.head(rows)).collect();
    let line = |row: &&Measured| {
        let cells: String = columns.iter().map(|column| column.cell(row, rows)).collect();
        format!("<tr>{cells}</tr>")
    };
    let lines: String = rows.iter().map(line).collect();
    format!(
        "<div class=\"wide\"><table class=\"numbers\"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>\n"
    )
}

impl Column<'_> {
    fn is_in(&self, row: &Measured) -> bool {
        self.part.of(row).get(self.name).is_some()
    }

    /// Words stand at the left, numbers at the right.
    fn class(&self, rows: &[&Measured]) -> &'static str {
        let is_text = rows.iter().any(|row| self.part.of(row).get(self.name).is_some_and(|value| value.is_string()));
        if is_text { " class=\"text\"" } else { "" }
    }

    fn head(&self, rows: &[&Measured]) -> String {
        // What was measured has its unit with it, a parameter has it in its name only.
        let bare = ["_ns", "_seconds"].iter().find_map(|unit| self.name.strip_suffix(unit));
        let name = bare.filter(|_| self.part != Part::Param).unwrap_or(self.name).replace('_', " ");
        let word = if self.part == Part::Limit { "limit: " } else { "" };
        format!("<th scope=\"col\"{}>{word}{}</th>", self.class(rows), escaped(&name))
    }

    fn cell(&self, row: &Measured, rows: &[&Measured]) -> String {
        let text = match self.part.of(row).get(self.name) {
            None => String::new(),
            Some(value) if self.part == Part::Param || quantity(self.name, value) == plain(value) => shown(value),
            Some(value) => quantity(self.name, value),
        };
        format!("<td{}>{}</td>", self.class(rows), escaped(&text))
    }
}
