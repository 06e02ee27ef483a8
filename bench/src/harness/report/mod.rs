//! The result of a scenario, and where it goes.
//!
//! One JSON object a line: `{"scenario", "params": {}, "machine": {}, "figures": {}, "limits": {}, "ratios": {}}`.
//! Figures carry their unit in their name. Limits were measured in the same run; a ratio is a figure over a limit.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};

use serde_json::Value;

use super::table;

/// Named values in the order in which they were set.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Adds a value.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// The value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find_map(|(found, value)| (found == name).then_some(value))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// As a JSON object.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{value}", Value::from(name))?;
        }
        f.write_str("}")
    }
}

/// One result.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(super) scenario: &'static str,
    pub(super) params: Fields,
    pub(super) figures: Fields,
    pub(super) limits: Fields,
    pub(super) ratios: Fields,
}

impl Report {
    /// An empty result of `scenario`.
    pub(crate) fn new(scenario: &'static str) -> Self {
        let empty = Fields::default;
        Self { scenario, params: empty(), figures: empty(), limits: empty(), ratios: empty() }
    }

    /// Adds what the run was asked for, or what it chose.
    #[must_use]
    pub(crate) fn param(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.set(name, value);
        self
    }

    /// Adds what was measured.
    #[must_use]
    pub(crate) fn figure(mut self, name: impl Into<String>, value: f64) -> Self {
        self.figures.set(name, rounded(value));
        self
    }

    /// Adds what the machine can do at most.
    #[must_use]
    pub(crate) fn limit(mut self, name: &str, value: f64) -> Self {
        self.limits.set(name, rounded(value));
        self
    }

    /// Adds a figure over a limit, or over the same figure of another system.
    #[must_use]
    pub(crate) fn ratio(mut self, name: &str, value: f64) -> Self {
        self.ratios.set(name, rounded(value));
        self
    }
}

impl Report {
    /// Parameters and machine as names and values for people.
    pub(crate) fn facts(&self, machine: &Fields) -> Vec<(String, String)> {
        let fields = self.params.iter().chain(machine.iter());
        fields.map(|(name, value)| (name.replace('_', " "), table::plain(value))).collect()
    }
}

/// A number as it is written: whole from a thousand up, else with the four digits that a measurement has.
pub(crate) fn rounded(value: f64) -> Value {
    let size = value.abs();
    if size >= 1e3 || value.fract() == 0.0 {
        return Value::from(value.round() as i64);
    }
    let scale = 10f64.powi(3 - size.log10().floor() as i32);
    Value::from((value * scale).round() / scale)
}

/// The destination of results.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    machine: Fields,
    save: Option<File>,
}

impl Output {
    /// To standard output, as JSON or as a table, and as JSON into `save`.
    pub(crate) fn new(json: bool, machine: Fields, save: Option<File>) -> Self {
        Self { json, machine, save }
    }

    /// The machine that results belong to.
    pub(crate) fn machine(&self) -> &Fields {
        &self.machine
    }

    /// Writes a text for people; nothing where results are JSON.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(io::stdout(), "{text}") }
    }

    /// Writes one result and flushes it.
    pub(crate) fn emit(&mut self, report: &Report) -> io::Result<()> {
        let line = self.json_line(report);
        if let Some(file) = &mut self.save {
            file.write_all(line.as_bytes())?;
        }
        let mut out = io::stdout().lock();
        if self.json {
            out.write_all(line.as_bytes())?
        } else {
            table::write(&mut out, report)?
        }
        out.flush()
    }

    /// Writes a result that is one of many while a scenario runs: a line of JSON, or `text`.
    pub(crate) fn progress(&mut self, report: &Report, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            out.write_all(self.json_line(report).as_bytes())?
        } else {
            writeln!(out, "{text}")?
        }
        out.flush()
    }

    fn json_line(&self, report: &Report) -> String {
        let Report { scenario, params, figures, limits, ratios } = report;
        let machine = &self.machine;
        format!(
            "{{\"scenario\":{},\"params\":{params},\"machine\":{machine},\"figures\":{figures},\"limits\":{limits},\
             \"ratios\":{ratios}}}\n",
            Value::from(*scenario)
        )
    }
}
