//! Written files are read back: logs by the library's own reader, the text by its rules, JSON by its numbers.

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use super::*;
use crate::report::{Group, Report, Series, Slice};
use crate::{Counts, Histogram, Unit, histogram};

const START: u64 = 1_700_000_000_123_000_000;

fn counts(values: &[u64]) -> Counts {
    let mut counts = Counts::new();
    values.iter().for_each(|value| counts.record(*value));
    counts
}

fn series() -> Series {
    let mut series = Series::new("gaps", "Gaps\nof tokens", Unit::Nanoseconds, histogram());
    let parts: [&[u64]; 3] = [&[0, 1, 5000], &[], &[20_000_000, 20_000_001]];
    for (number, values) in (0..).zip(parts) {
        values.iter().for_each(|value| series.histogram.saturating_record(*value));
        let start_ns = START + number * 1_500_000_000;
        series.slices.push(Slice { start_ns, end_ns: start_ns + 1_500_000_000, counts: counts(values) });
    }
    series.groups = vec![
        Group { label: "a b,c".to_owned(), counts: counts(&[0, 1]) },
        Group { label: String::new(), counts: counts(&[5000]) },
    ];
    series
}

/// Tag, start and length in milliseconds, and histogram of a line.
type Interval = (Option<String>, u128, u128, Histogram<u64>);

/// The times of the header, in milliseconds, and the lines.
fn read(log: &[u8]) -> (Vec<u128>, Vec<Interval>) {
    let (mut times, mut intervals) = (Vec::new(), Vec::new());
    for entry in IntervalLogIterator::new(log) {
        match entry.expect("a line that parses") {
            LogEntry::StartTime(time) | LogEntry::BaseTime(time) => times.push(time.as_millis()),
            LogEntry::Interval(interval) => {
                let bytes = base64(interval.encoded_histogram());
                intervals.push((
                    interval.tag().map(|tag| tag.as_str().to_owned()),
                    interval.start_timestamp().as_millis(),
                    interval.duration().as_millis(),
                    Deserializer::new().deserialize(&mut &*bytes).expect("a histogram"),
                ));
            }
        }
    }
    (times, intervals)
}

/// Decodes the standard alphabet; the writer has a library for it, a test needs no more than this.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter(|byte| *byte != b'=');
    let digits: Vec<u32> =
        digits.map(|byte| ALPHABET.iter().position(|known| *known == byte).expect("base64") as u32).collect();
    let quads = digits.chunks(4).map(|quad| (quad.len(), quad.iter().fold(0, |sum, digit| sum << 6 | digit)));
    quads.flat_map(|(length, bits)| (bits << (6 * (4 - length))).to_be_bytes()[1..length].to_vec()).collect()
}

#[test]
fn logs_are_read_back_slice_for_slice() {
    let series = series();
    let log = slices_log(&series).expect("written");
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "#[Histogram log format version 1.3]");
    assert_eq!(lines[2], "#[StartTime: 1700000000.123 (seconds since epoch)]");
    assert_eq!(lines[3], "#[BaseTime: 1700000000.123 (seconds since epoch)]");
    assert!(lines[4].starts_with("\"StartTimestamp\",\"Interval_Length\""), "{text}");
    let (times, intervals) = read(&log);
    assert_eq!(times, [1_700_000_000_123; 2]);
    assert_eq!(intervals.len(), 3);
    for (number, ((tag, start, length, read), slice)) in (0..).zip(intervals.iter().zip(&series.slices)) {
        assert_eq!((tag, *start, *length), (&None, number * 1500, 1500));
        assert_eq!(Counts::from(read), slice.counts);
    }
}

#[test]
fn groups_are_intervals_with_a_tag() {
    let (_, intervals) = read(&groups_log(&series()).expect("written"));
    let tags: Vec<&str> = intervals.iter().filter_map(|(tag, ..)| tag.as_deref()).collect();
    assert_eq!(tags, ["a_b_c", "-"]);
    assert!(intervals.iter().all(|&(_, start, length, _)| (start, length) == (0, 4500)));
    assert_eq!(intervals.iter().map(|(.., histogram)| histogram.len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn percentile_text_has_the_columns_that_plotters_read() {
    let mut thousand = histogram();
    (1..=1000).for_each(|value| thousand.saturating_record(value * 1000));
    let text = String::from_utf8(hgrm(&thousand).expect("written")).expect("text");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("Value") && !line.is_empty())
        .map(|line| line.split_whitespace().map(|number| number.parse().expect("a number")).collect())
        .collect();
    let (last, others) = rows.split_last().expect("rows");
    assert!(others.iter().all(|row| row.len() == 4 && (row[3] - 1.0 / (1.0 - row[1])).abs() < 0.01 * row[3]), "{text}");
    assert_eq!(last[1..], [1.0, 1000.0]);
    let half = others.iter().find(|row| row[1] == 0.5).expect("the median");
    assert!((500_000.0..501_000.0).contains(&half[0]) && half[2] == 500.0, "{half:?}");
    assert!(text.contains("#[Max     =  1000447.000, Total count    =         1000]"), "{text}");
    let none = String::from_utf8(hgrm(&histogram()).expect("written")).expect("text");
    assert!(none.contains("Total count    =            0]"), "{none}");
}

#[test]
fn json_has_numbers_and_buckets_of_everything() {
    let report = Report { title: "t".into(), grouped_by: "model".into(), series: vec![series()], ..Report::default() };
    let read: Value = serde_json::from_slice(&json(&report).expect("written")).expect("JSON");
    let line = &read["series"][0];
    assert_eq!((&read["grouped_by"], &line["unit"], &line["count"]), (&"model".into(), &"ns".into(), &5.into()));
    assert_eq!(line["buckets"], serde_json::json!([[0, 1], [1, 1], [5000, 1], [19_988_480, 2]]));
    assert_eq!((&line["p50"], &line["p99.9"], &line["max"]), (&5003.into(), &20_004_863.into(), &20_004_863.into()));
    assert_eq!(line["slices"].as_array().map(Vec::len), Some(3));
    assert_eq!(line["slices"][2]["buckets"], serde_json::json!([[19_988_480, 2]]));
    assert_eq!((&line["groups"][0]["label"], &line["groups"][0]["count"]), (&"a b,c".into(), &2.into()));
}
