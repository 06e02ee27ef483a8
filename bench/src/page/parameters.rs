//! The parameters of the results of one scenario: those that are the same for all of them, and those that distinguish
//! them.

use serde_json::Value;

use super::html::{escaped, shown};
use super::results::Measured;
use crate::harness::table::plain;

/// Values with more characters stand neither in labels nor in tables.
const SHORT_CHARACTERS_MAX: usize = 24;

/// Parameters of the results of one scenario.
#[derive(Debug)]
pub(super) struct Parameters<'a> {
    rows: Vec<&'a Measured>,
    /// The same for all.
    common: Vec<(&'a str, &'a Value)>,
    /// Names of the others, in the order in which they come up: short ones and long ones.
    distinct: Vec<&'a str>,
    long: Vec<&'a str>,
    /// The first of `distinct` that distinguish all results that can be distinguished.
    label: Vec<&'a str>,
}

impl<'a> Parameters<'a> {
    /// Compares the parameters of several results.
    pub(super) fn of(rows: &[&'a Measured]) -> Self {
        let rows = rows.to_vec();
        let (mut common, mut distinct, mut long) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value) in rows.iter().flat_map(|row| row.params.iter()) {
            if distinct.contains(&name) || long.contains(&name) || common.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let mut values = rows.iter().map(|row| row.params.get(name));
            if values.clone().all(|found| found == Some(value)) {
                common.push((name, value));
            } else if values.any(|found| found.is_some_and(is_long)) {
                long.push(name);
            } else {
                distinct.push(name);
            }
        }
        let label = label_of(&rows, &distinct);
        Self { rows, common, distinct, long, label }
    }

    /// The difference of a result from the others, in short: a case by its name, numbers with theirs.
    pub(super) fn label(&self, row: &Measured) -> String {
        let words = self.label.iter().filter_map(|name| Some(word(name, row.params.get(name)?)));
        let words: Vec<String> = words.collect();
        if words.is_empty() { row.scenario.clone() } else { words.join(", ") }
    }

    /// Names of the parameters that distinguish results, without the long ones.
    pub(super) fn distinct(&self) -> &[&'a str] {
        &self.distinct
    }

    /// The parameters that are the same for all; and those that would be too long for a table, with the results that
    /// they belong to.
    pub(super) fn html(&self) -> String {
        let common = self.common.iter().map(|(name, value)| {
            let items: Vec<String> = match value.as_array() {
                Some(items) => items.iter().map(plain).collect(),
                None => Vec::new(),
            };
            if items.is_empty() { entry(name, &shown(value)) } else { list(name, &items) }
        });
        let long = self.long.iter().map(|name| list(name, &self.by_result(name)));
        let entries: String = common.chain(long).collect();
        if entries.is_empty() { entries } else { format!("<dl class=\"params\">{entries}</dl>\n") }
    }

    /// Each value of a parameter once, after the results that have it.
    fn by_result(&self, name: &str) -> Vec<String> {
        let mut values: Vec<(&Value, Vec<String>)> = Vec::new();
        for row in &self.rows {
            let Some(value) = row.params.get(name) else { continue };
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, labels)) => labels.push(self.label(row)),
                None => values.push((value, vec![self.label(row)])),
            }
        }
        values.into_iter().map(|(value, labels)| format!("{}: {}", labels.join("; "), plain(value))).collect()
    }
}

/// The first parameters that distinguish all results that these parameters can.
fn label_of<'a>(rows: &[&Measured], distinct: &[&'a str]) -> Vec<&'a str> {
    let told_apart = |names: &[&str]| {
        let mut values: Vec<Vec<Option<&Value>>> = Vec::new();
        for row in rows {
            let of_row = names.iter().map(|name| row.params.get(name)).collect();
            if !values.contains(&of_row) {
                values.push(of_row);
            }
        }
        values.len()
    };
    let mut label: Vec<&str> = Vec::new();
    for name in distinct {
        let before = told_apart(&label);
        label.push(name);
        if told_apart(&label) == before {
            label.pop();
        }
    }
    label
}

fn is_long(value: &Value) -> bool {
    plain(value).chars().count() > SHORT_CHARACTERS_MAX
}

fn entry(name: &str, text: &str) -> String {
    format!("<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(text))
}

fn list(name: &str, items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<li>{}</li>", escaped(item))).collect();
    format!("<div class=\"list\"><dt>{}</dt><dd><ul>{items}</ul></dd></div>", escaped(name))
}

fn word(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => format!("{} {}", name.replace('_', " "), shown(value)),
    }
}
