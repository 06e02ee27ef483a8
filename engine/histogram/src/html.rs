//! One page to look at: facts, numbers, pictures. No script, and nothing from elsewhere.

use std::fmt::Write as _;

use crate::counts::{Counts, Summary};
use crate::report::{Report, Series};
use crate::svg::{self, STYLE, escaped};
use crate::unit::{Unit, grouped};

/// Groups that the page lists of each series.
const GROUPS: usize = 100;

const PAGE: &str = "\
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:1000px;margin:0 auto;padding:24px 20px 60px}h1{font-size:24px;margin:0 0 12px}\
h2{font-size:18px;margin:40px 0 8px}p,dt,caption,footer{color:var(--soft)}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0 0 20px}dd{margin:0;overflow-wrap:anywhere}\
figure{margin:16px 0;border:1px solid var(--rule);border-radius:6px;overflow:hidden}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
caption{text-align:left;padding:4px 0}th,td{padding:4px 8px;text-align:right;white-space:nowrap;\
border-bottom:1px solid var(--rule)}th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;min-width:9em;overflow-wrap:anywhere}\
th{font-weight:600;color:var(--soft)}";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::new();
    let title = escaped(&report.title);
    // Writing to a string does not fail, here and below.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{STYLE}{PAGE}</style></head>\
         <body><main><h1>{title}</h1>\n{}\n",
        facts(report)
    );
    let rows = report.series.iter().map(|series| (&*series.title, series.unit, Counts::from(&series.histogram)));
    page.push_str(&table("measure", "", rows));
    if let Some(compared) = svg::compared(report) {
        let _ = writeln!(page, "<figure>{}</figure>", compared.inline());
    }
    for series in &report.series {
        section(&mut page, report, series);
    }
    page.push_str(
        "<footer><p>A value is known to three digits. A percentile says that so many of 100 values are at most as large; \
         on its axis each further nine takes the same room. histograms.json, beside this page, has every bucket.</p></footer>\
         </main></body></html>\n",
    );
    page
}

fn facts(report: &Report) -> String {
    let facts = report.facts.iter();
    let facts: String =
        facts.map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value))).collect();
    if facts.is_empty() { facts } else { format!("<dl>{facts}</dl>") }
}

fn section(page: &mut String, report: &Report, series: &Series) {
    let (percentiles, heat) = (svg::percentiles(series).inline(), svg::heat_map(series).inline());
    let _ = write!(
        page,
        "<section><h2>{}</h2><figure>{percentiles}</figure><figure>{heat}</figure>",
        escaped(&series.title)
    );
    if !series.groups.is_empty() {
        let more = match series.groups.len() {
            all if all > GROUPS => format!("the first {GROUPS} of {}", grouped(all as u64)),
            _ => String::new(),
        };
        let rows = series.groups.iter().take(GROUPS);
        let rows = rows.map(|group| (&*group.label, series.unit, group.counts.clone()));
        page.push_str(&table(&report.grouped_by, &more, rows));
    }
    page.push_str("</section>\n");
}

fn table<'a>(first: &str, caption: &str, rows: impl Iterator<Item = (&'a str, Unit, Counts)>) -> String {
    let caption = if caption.is_empty() { String::new() } else { format!("<caption>{caption}</caption>") };
    let mut table = format!(
        "<div class=\"scroll\"><table>{caption}<thead><tr><th>{}</th><th>count</th><th>min</th><th>mean</th><th>50%</th>\
         <th>90%</th><th>99%</th><th>99.9%</th><th>99.99%</th><th>max</th></tr></thead><tbody>",
        escaped(first)
    );
    for (label, unit, counts) in rows {
        let Summary { count, min, mean, p50, p90, p99, p99_9, p99_99, max } = counts.summary();
        let _ = write!(table, "<tr><td>{}</td><td>{}</td>", escaped(label), grouped(count));
        let values =
            [min as f64, mean].into_iter().chain([p50, p90, p99, p99_9, p99_99, max].map(|value| value as f64));
        for value in values {
            let text = if count == 0 { "-".to_owned() } else { unit.text(value) };
            let _ = write!(table, "<td>{text}</td>");
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table></div>\n");
    table
}
