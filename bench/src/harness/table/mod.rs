//! Results for people: a heading with the parameters, then a line for each number with its unit.

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use serde_json::Value;

use super::report::{Fields, Report};

/// Parameters with more characters get a line of their own.
const LONG: usize = 24;

/// Writes one result.
pub(crate) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let (long, short): (Vec<_>, Vec<_>) = report.params.iter().partition(|(_, value)| plain(value).len() > LONG);
    let short: Vec<String> = short.into_iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    writeln!(out, "{}  {}", report.scenario, short.join(" "))?;
    for (name, value) in long {
        match value.as_array() {
            Some(items) => items.iter().try_for_each(|item| writeln!(out, "  {name}: {}", plain(item)))?,
            None => writeln!(out, "  {name}: {}", plain(value))?,
        }
    }
    let parts: [(&str, &Fields); 3] = [("", &report.figures), ("limit  ", &report.limits), ("ratio  ", &report.ratios)];
    for (label, fields) in parts {
        for (name, value) in fields.iter() {
            writeln!(out, "  {:<40} {:>14}", format!("{label}{name}"), quantity(name, value))?;
        }
    }
    writeln!(out)
}

/// A value as text.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "nothing".to_owned(),
        value => value.to_string(),
    }
}

/// A number with the unit that its name ends with.
pub(crate) fn quantity(name: &str, value: &Value) -> String {
    let Some(number) = value.as_f64() else { return plain(value) };
    let unit = |unit: &str| scaled(number, 1000.0, unit);
    match name {
        _ if name.ends_with("bytes_per_second") => unit("B/s"),
        _ if name.ends_with("_per_second") => unit("/s"),
        _ if name.ends_with("_bytes") => unit("B"),
        _ if name.ends_with("_ns") => duration(number),
        _ if name.ends_with("seconds") => duration(number * 1e9),
        _ => plain(value),
    }
}

fn scaled(number: f64, step: f64, unit: &str) -> String {
    let mut rest = number;
    for prefix in ["", "k", "M", "G"] {
        if rest.abs() < step {
            return format!("{rest:.2} {prefix}{unit}");
        }
        rest /= step;
    }
    format!("{rest:.2} T{unit}")
}

fn duration(nanos: f64) -> String {
    match nanos.abs() {
        size if size < 1e3 => format!("{nanos:.1} ns"),
        size if size < 1e6 => format!("{:.2} us", nanos / 1e3),
        size if size < 1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.3} s", nanos / 1e9),
    }
}
