//! The measurements on standard output: tables and plots, or JSON lines.

use std::io::{self, Write};

use serde::Serialize;
use tapeline_histogram::{Counts, Series, Summary, Unit, text};

use super::args::By;
use super::measure::{Measure, Part};
use super::meter::Measured;
use super::report::{self, THROUGHPUT};
use crate::human;
use crate::output::{self, Align, Style, Table};

/// Width of plots in characters.
const WIDTH: usize = 80;

/// A line of `--json`: one measure of the whole, or of a slice.
#[derive(Debug, Serialize)]
struct Line<'a> {
    by: Option<&'static str>,
    slice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_ns: Option<u64>,
    measure: &'static str,
    unit: &'static str,
    #[serde(flatten)]
    summary: Summary,
}

/// The label of a slice, and its time.
#[derive(Debug, Default, Clone, Copy)]
struct SliceLabel<'a> {
    by: Option<By>,
    label: Option<&'a str>,
    window: Option<(u64, u64)>,
}

/// Prints JSON: the whole, then the slices, each measure on a line of its own.
pub(super) fn json(out: &mut impl Write, by: Option<By>, measured: &Measured) -> io::Result<()> {
    let throughput = report::throughput(measured);
    for (measure, total) in Measure::ALL.into_iter().zip(&measured.totals) {
        line(out, SliceLabel::default(), measure.name(), measure.unit(), &Counts::from(total))?;
    }
    line(out, SliceLabel::default(), THROUGHPUT, throughput.unit, &Counts::from(&throughput.histogram))?;
    for group in &measured.groups {
        part(out, SliceLabel { by, label: Some(&group.label), window: None }, &group.part)?;
    }
    if by == Some(By::Time) {
        for ((start, window), slice) in measured.windows.all().zip(&throughput.slices) {
            let label = output::time(start);
            let of = SliceLabel { by, label: Some(&label), window: Some((start, slice.end_ns)) };
            part(out, of, window.unwrap_or(&Part::default()))?;
            line(out, of, THROUGHPUT, throughput.unit, &slice.counts)?;
        }
    }
    Ok(())
}

fn part(out: &mut impl Write, of: SliceLabel<'_>, part: &Part) -> io::Result<()> {
    Measure::ALL.into_iter().try_for_each(|measure| line(out, of, measure.name(), measure.unit(), part.of(measure)))
}

fn line(
    out: &mut impl Write,
    of: SliceLabel<'_>,
    measure: &'static str,
    unit: Unit,
    counts: &Counts,
) -> io::Result<()> {
    let SliceLabel { by, label: slice, window } = of;
    let (start_ns, end_ns) = window.unzip();
    let (by, unit) = (by.map(By::name), unit.name());
    let line = Line { by, slice, start_ns, end_ns, measure, unit, summary: counts.summary() };
    output::json(out, &line)
}

/// Prints what was measured for a person: a table of the measures, the slices, and plots.
pub(super) fn text(out: &mut impl Write, by: Option<By>, measured: &Measured, style: Style) -> io::Result<()> {
    let (tokens, sessions) = (human::some(measured.token_count, "token"), human::some(measured.sessions, "session"));
    writeln!(out, "{tokens} ({}) in {sessions}\n", report::what(measured.tokens))?;
    let throughput = report::throughput(measured);
    measures(measured, &throughput).print(out, style)?;
    if let Some(by) = by {
        writeln!(out)?;
        slices(by, measured).print(out, style)?;
    }
    for measure in [Measure::TimeToFirstToken, Measure::InterToken] {
        writeln!(out, "\n{}", style.strong(measure.title()))?;
        let counts = Counts::from(&measured.totals[measure as usize]);
        out.write_all(text::plot(&counts, measure.unit(), WIDTH).as_bytes())?;
    }
    Ok(())
}

fn measures(measured: &Measured, throughput: &Series) -> Table<9> {
    let mut table = Table::new([
        ("MEASURE", Align::Left),
        ("COUNT", Align::Right),
        ("MIN", Align::Right),
        ("MEAN", Align::Right),
        ("P50", Align::Right),
        ("P90", Align::Right),
        ("P99", Align::Right),
        ("P99.9", Align::Right),
        ("MAX", Align::Right),
    ]);
    let rows = Measure::ALL.into_iter().zip(&measured.totals);
    let rows = rows.map(|(measure, total)| (measure.name(), measure.unit(), total));
    for (name, unit, total) in rows.chain([(THROUGHPUT, throughput.unit, &throughput.histogram)]) {
        let Summary { count, min, mean, p50, p90, p99, p99_9, max, .. } = Counts::from(total).summary();
        let value = |value: f64| if count == 0 { "-".to_owned() } else { unit.text(value) };
        let [min, p50, p90, p99, p99_9, max] = [min, p50, p90, p99, p99_9, max].map(|number| value(number as f64));
        table.row([name.to_owned(), count.to_string(), min, value(mean), p50, p90, p99, p99_9, max]);
    }
    table
}

/// One row a slice: what people compare slices by. Sessions count in the window that they end in.
fn slices(by: By, measured: &Measured) -> Table<10> {
    let heading = match by {
        By::Session => "SESSION",
        By::Kind => "KIND",
        By::Model => "MODEL",
        By::Time => "TIME",
    };
    let mut table = Table::new([
        (heading, Align::Left),
        ("TOKENS", Align::Right),
        ("FIRST P50", Align::Right),
        ("FIRST P99", Align::Right),
        ("INTER P50", Align::Right),
        ("INTER P99", Align::Right),
        ("INTER MAX", Align::Right),
        ("PER TOKEN P50", Align::Right),
        ("LENGTH P50", Align::Right),
        ("RATE P50", Align::Right),
    ]);
    for group in &measured.groups {
        table.row(row(group.label.clone(), &group.part));
    }
    if by == By::Time {
        for (start, part) in measured.windows.all() {
            table.row(row(output::time(start), part.unwrap_or(&Part::default())));
        }
    }
    table
}

fn row(label: String, part: &Part) -> [String; 10] {
    let at = |measure: Measure, quantile| {
        let counts = part.of(measure);
        match counts.count() {
            0 => "-".to_owned(),
            _ => measure.unit().text(counts.value_at(quantile) as f64),
        }
    };
    [
        label,
        part.tokens.to_string(),
        at(Measure::TimeToFirstToken, 0.5),
        at(Measure::TimeToFirstToken, 0.99),
        at(Measure::InterToken, 0.5),
        at(Measure::InterToken, 0.99),
        at(Measure::InterToken, 1.0),
        at(Measure::TimePerOutputToken, 0.5),
        at(Measure::SessionLength, 0.5),
        at(Measure::SessionRate, 0.5),
    ]
}
