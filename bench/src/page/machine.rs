//! The machines that results come from. Usually one.

use super::html::escaped;
use super::results::Results;
use crate::harness::report::Fields;
use crate::harness::table::{plain, quantity};

/// The description of each machine, once.
pub(super) fn html(results: &Results) -> String {
    let mut machines: Vec<&Fields> = Vec::new();
    for measured in results.all() {
        if !machines.contains(&&measured.machine) {
            machines.push(&measured.machine);
        }
    }
    machines.into_iter().map(facts).collect()
}

fn facts(machine: &Fields) -> String {
    let facts: String = machine
        .iter()
        .map(|(name, value)| {
            // The words of the report, and numbers with their unit.
            let text = if value.is_number() { quantity(name, value) } else { plain(value) };
            let name = name.strip_suffix("_bytes").unwrap_or(name);
            format!("<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(&text))
        })
        .collect();
    format!("<dl class=\"facts\">{facts}</dl>\n")
}
