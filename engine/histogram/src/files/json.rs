//! Everything as one JSON object. A bucket is `[lowest value, count]`.

use std::io;

use serde::Serialize;

use crate::counts::{Counts, DIGITS, HIGHEST, LOWEST, Summary};
use crate::report::Report;

#[derive(Debug, Serialize)]
struct Page<'a> {
    title: &'a str,
    facts: Vec<Fact<'a>>,
    lowest: u64,
    highest: u64,
    significant_digits: u8,
    grouped_by: Option<&'a str>,
    series: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Fact<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    title: &'a str,
    unit: &'static str,
    #[serde(flatten)]
    values: Values,
    slices: Vec<Slice>,
    groups: Vec<Group<'a>>,
}

#[derive(Debug, Serialize)]
struct Slice {
    start_ns: u64,
    end_ns: u64,
    #[serde(flatten)]
    values: Values,
}

#[derive(Debug, Serialize)]
struct Group<'a> {
    label: &'a str,
    #[serde(flatten)]
    values: Values,
}

/// The numbers of a distribution, and its buckets.
#[derive(Debug, Serialize)]
struct Values {
    #[serde(flatten)]
    summary: Summary,
    buckets: Vec<(u64, u64)>,
}

impl From<&Counts> for Values {
    fn from(counts: &Counts) -> Self {
        Self { summary: counts.summary(), buckets: counts.buckets().to_vec() }
    }
}

/// The object, on one line.
pub(crate) fn json(report: &Report) -> io::Result<Vec<u8>> {
    let series = report.series.iter().map(|series| Line {
        name: &series.name,
        title: &series.title,
        unit: series.unit.name(),
        values: Values::from(&Counts::from(&series.histogram)),
        slices: series
            .slices
            .iter()
            .map(|slice| Slice { start_ns: slice.start_ns, end_ns: slice.end_ns, values: (&slice.counts).into() })
            .collect(),
        groups: series
            .groups
            .iter()
            .map(|group| Group { label: &group.label, values: (&group.counts).into() })
            .collect(),
    });
    let page = Page {
        title: &report.title,
        facts: report.facts.iter().map(|(name, value)| Fact { name, value }).collect(),
        lowest: LOWEST,
        highest: HIGHEST,
        significant_digits: DIGITS,
        grouped_by: (!report.grouped_by.is_empty()).then_some(&*report.grouped_by),
        series: series.collect(),
    };
    let mut bytes = serde_json::to_vec(&page)?;
    bytes.push(b'\n');
    Ok(bytes)
}
