//! Latencies: percentiles in a table, each with a line from its median to its longest on a logarithmic axis.

use serde_json::Value;

use super::html::escaped;
use super::parameters::Parameters;
use super::results::Measured;
use crate::harness::table::quantity;

/// Percentiles by the ends of their names in results, and what they are called.
const PERCENTILES: [(&str, &str); 4] = [("p50_ns", "p50"), ("p99_ns", "p99"), ("p999_ns", "p99.9"), ("max_ns", "max")];

/// Width and height of a line, and the room at its ends, in pixels.
const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 18.0;
const MARGIN: f64 = 6.0;

/// The percentiles of one distribution.
#[derive(Debug)]
struct Distribution {
    label: String,
    /// In the order of [`PERCENTILES`], in nanoseconds.
    nanos: [f64; 4],
}

/// Returns whether a result is about latencies.
pub(super) fn has(row: &Measured) -> bool {
    row.figures.iter().any(|(name, _)| name.ends_with(PERCENTILES[0].0))
}

/// A table of all distributions. A result may have several: the others have a word before the names of their numbers.
pub(super) fn html(rows: &[&Measured], parameters: &Parameters<'_>) -> String {
    let distributions: Vec<Distribution> = rows.iter().flat_map(|row| distributions(row, parameters)).collect();
    if distributions.is_empty() {
        return String::new();
    }
    let axis = Axis::of(&distributions);
    let heads: String = PERCENTILES.iter().map(|(_, name)| format!("<th scope=\"col\">{name}</th>")).collect();
    let lines: String = distributions.iter().map(|distribution| line(distribution, &axis)).collect();
    format!(
        "<h3>latency, and p50, p99, p99.9, max on a logarithmic axis</h3><div class=\"wide\"><table class=\"latency\"><thead><tr><th></th>{heads}<th scope=\"col\">{}</th>\
         </tr></thead><tbody>{lines}</tbody></table></div>\n",
        axis.html()
    )
}

fn distributions(row: &Measured, parameters: &Parameters<'_>) -> Vec<Distribution> {
    let prefixes = row.figures.iter().filter_map(|(name, _)| name.strip_suffix(PERCENTILES[0].0));
    let distribution = |prefix: &str| {
        let mut nanos = [0.0; 4];
        for (at, (suffix, _)) in PERCENTILES.iter().enumerate() {
            nanos[at] = row.figures.get(&format!("{prefix}{suffix}"))?.as_f64()?;
        }
        let name = prefix.trim_end_matches('_').replace('_', " ");
        let label = parameters.label(row);
        Some(Distribution { label: if name.is_empty() { label } else { format!("{label}, {name}") }, nanos })
    };
    prefixes.filter_map(distribution).collect()
}

fn line(distribution: &Distribution, axis: &Axis) -> String {
    let cells: String = PERCENTILES
        .iter()
        .zip(distribution.nanos)
        .map(|((name, _), nanos)| format!("<td>{}</td>", escaped(&quantity(name, &Value::from(nanos)))))
        .collect();
    let [first, .., last] = distribution.nanos.map(|nanos| axis.x(nanos));
    let middle = HEIGHT / 2.0;
    let marks: String = PERCENTILES
        .iter()
        .zip(distribution.nanos)
        .map(|((suffix, name), nanos)| {
            let title = format!("{name} {}", quantity(suffix, &Value::from(nanos)));
            format!(
                "<circle cx=\"{:.1}\" cy=\"{middle}\" r=\"4\"><title>{}</title></circle>",
                axis.x(nanos),
                escaped(&title)
            )
        })
        .collect();
    format!(
        "<tr><th scope=\"row\">{}</th>{cells}<td class=\"line\"><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\">{}<line x1=\"{first:.1}\" x2=\"{last:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         {marks}</svg></td></tr>",
        escaped(&distribution.label),
        axis.grid(),
    )
}

/// A logarithmic axis over whole decades.
#[derive(Debug)]
struct Axis {
    /// Logarithms to base 10.
    low: i32,
    high: i32,
}

impl Axis {
    fn of(distributions: &[Distribution]) -> Self {
        let all = || distributions.iter().flat_map(|distribution| distribution.nanos);
        let low = all().fold(f64::INFINITY, f64::min).max(1.0).log10().floor() as i32;
        let high = all().fold(1.0, f64::max).log10().ceil() as i32;
        Self { low, high: high.max(low + 1) }
    }

    fn x(&self, nanos: f64) -> f64 {
        let share = (nanos.max(1.0).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        MARGIN + share.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|decade| 10f64.powi(decade))
    }

    /// A thin line for each decade.
    fn grid(&self) -> String {
        let line = |nanos| format!("<path d=\"M{:.1} 0V{HEIGHT}\"/>", self.x(nanos));
        self.decades().map(line).collect()
    }

    /// The decades of the axis.
    fn html(&self) -> String {
        let last = 10f64.powi(self.high);
        let text = |nanos: f64| {
            let anchor = match nanos {
                nanos if nanos == last => "end",
                nanos if self.x(nanos) <= MARGIN => "start",
                _ => "middle",
            };
            let name = match nanos {
                nanos if nanos < 1e3 => format!("{nanos} ns"),
                nanos if nanos < 1e6 => format!("{} us", nanos / 1e3),
                nanos if nanos < 1e9 => format!("{} ms", nanos / 1e6),
                nanos => format!("{} s", nanos / 1e9),
            };
            format!("<text x=\"{:.1}\" y=\"13\" text-anchor=\"{anchor}\">{name}</text>", self.x(nanos))
        };
        // Where there are many decades, each second one is named.
        let step = if self.high - self.low > 4 { 2 } else { 1 };
        let texts: String = self.decades().step_by(step).map(text).collect();
        format!("<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">{texts}</svg>")
    }
}
