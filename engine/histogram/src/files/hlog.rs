//! HdrHistogram's interval logs, format 1.3: a header, and a line for each part with its histogram, compressed.
//!
//! Times are written in seconds since the base time, which is the first part's beginning, to the millisecond.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use crate::counts::Counts;
use crate::report::Series;

/// One line.
struct Interval<'a> {
    label: Option<&'a str>,
    start_ns: u64,
    end_ns: u64,
    counts: &'a Counts,
}

/// The parts over time.
pub(crate) fn slices_log(series: &Series) -> io::Result<Vec<u8>> {
    let intervals = series.slices.iter().map(|slice| Interval {
        label: None,
        start_ns: slice.start_ns,
        end_ns: slice.end_ns,
        counts: &slice.counts,
    });
    log(series, intervals)
}

/// The groups, each over the time of all slices.
pub(crate) fn groups_log(series: &Series) -> io::Result<Vec<u8>> {
    let start_ns = series.slices.first().map_or(0, |slice| slice.start_ns);
    let end_ns = series.slices.last().map_or(start_ns, |slice| slice.end_ns);
    let intervals = series.groups.iter();
    log(series, intervals.map(|group| Interval { label: Some(&group.label), start_ns, end_ns, counts: &group.counts }))
}

fn log<'a>(series: &Series, intervals: impl Iterator<Item = Interval<'a>>) -> io::Result<Vec<u8>> {
    let base = Duration::from_nanos(series.slices.first().map_or(0, |slice| slice.start_ns));
    let (mut out, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let title: String = series.title.chars().map(|each| if each.is_control() { ' ' } else { each }).collect();
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!("[{title}; values in {}]", series.unit.name()))
        .with_start_time(SystemTime::UNIX_EPOCH + base)
        .with_base_time(SystemTime::UNIX_EPOCH + base)
        .begin_log_with(&mut out, &mut serializer)?;
    // The library has no call for the legend, which stands between headers and lines.
    writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
    let mut writer = IntervalLogWriterBuilder::new().begin_log_with(&mut out, &mut serializer)?;
    for interval in intervals {
        let tag = interval.label.map(tag_text);
        let start = Duration::from_nanos(interval.start_ns).saturating_sub(base);
        let length = Duration::from_nanos(interval.end_ns.saturating_sub(interval.start_ns));
        writer
            .write_histogram(&interval.counts.to_histogram(), start, length, tag.as_deref().and_then(Tag::new))
            .map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            })?;
    }
    Ok(out)
}

/// A label without what a tag cannot have: spaces, commas, line ends.
fn tag_text(label: &str) -> String {
    let allowed = |each: char| !(each.is_whitespace() || each.is_control() || each == ',');
    match label {
        "" => "-".to_owned(),
        label => label.chars().map(|each| if allowed(each) { each } else { '_' }).collect(),
    }
}
