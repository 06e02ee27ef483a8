//! Rates as bars, beside the limit or the model that they are compared with.

use serde_json::Value;

use super::html::escaped;
use super::latencies;
use super::parameters::Parameters;
use super::results::Measured;
use crate::harness::table::quantity;

/// The figures that a bar may show, the best first.
const RATES: [&str; 3] = ["events_per_second", "stored_per_second", "log_bytes_per_second"];

/// A bar for each result that is a rate; those that are latencies at a given rate are not.
pub(super) fn html(rows: &[&Measured], parameters: &Parameters<'_>) -> String {
    let rates: Vec<&&Measured> = rows.iter().filter(|row| !latencies::has(row)).collect();
    let charts = RATES.iter().map(|name| {
        let shown = rates.iter().filter(|row| rate_of(row).is_some_and(|(found, _)| found == *name));
        let bars: Vec<(String, f64, &Measured)> =
            shown.filter_map(|row| Some((parameters.label(row), rate_of(row)?.1, **row))).collect();
        chart(name, &bars)
    });
    charts.collect()
}

/// The rate that stands for a result.
fn rate_of(row: &Measured) -> Option<(&'static str, f64)> {
    RATES.into_iter().find_map(|name| Some((name, row.figures.get(name)?.as_f64()?)))
}

fn chart(name: &str, bars: &[(String, f64, &Measured)]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let longest = bars.iter().map(|(_, rate, _)| *rate).fold(f64::MIN_POSITIVE, f64::max);
    let bar = |(label, rate, row): &(String, f64, &Measured)| {
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"bar\"><i style=\"width:{:.2}%\"></i></td><td>{}</td>\
             <td class=\"beside\">{}</td></tr>",
            escaped(label),
            (100.0 * rate / longest).clamp(0.0, 100.0),
            escaped(&quantity(name, &Value::from(*rate))),
            escaped(&beside(row)),
        )
    };
    let bars: String = bars.iter().map(bar).collect();
    format!(
        "<h3>{}</h3><div class=\"wide\"><table class=\"bars\"><tbody>{bars}</tbody></table></div>\n",
        escaped(&name.replace('_', " "))
    )
}

/// The relation of a rate to the one it is compared with.
fn beside(row: &Measured) -> String {
    let ratios = row.ratios.iter().map(|(name, value)| format!("{value} {}", name.replace('_', " ")));
    ratios.collect::<Vec<_>>().join(" · ")
}
