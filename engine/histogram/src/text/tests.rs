//! Plots count everything once, in order, within their width.

use super::*;

fn counts(values: impl IntoIterator<Item = u64>) -> Counts {
    let mut counts = Counts::new();
    values.into_iter().for_each(|value| counts.record(value));
    counts
}

#[test]
fn every_value_is_on_one_line() {
    let wide = (0..1000u64).map(|number| number * number * number);
    let cases = [
        counts(wide),
        counts([0]),
        counts([0, u64::MAX]),
        counts([7; 9]),
        counts(100..130),
        counts((0..40).map(|bits| 1 << bits)),
        counts([1_000_000, 1_000_001, 3_999_999]),
    ];
    for counts in cases {
        for width in [0, 40, 80, 200] {
            let text = plot(&counts, Unit::Nanoseconds, width);
            let lines: Vec<&str> = text.lines().collect();
            assert!((1..=ROWS).contains(&lines.len()), "{text}");
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(WIDTH_MIN)), "{width}:\n{text}");
            let numbers = lines.iter().map(|line| line.split_whitespace().rev().nth(1).expect("a count"));
            let sum: u64 = numbers.map(|number| number.replace(',', "").parse::<u64>().expect("a number")).sum();
            assert_eq!(sum, counts.count(), "{text}");
        }
    }
}

#[test]
fn bars_are_as_long_as_their_share() {
    let mut two = counts([1_000]);
    two.record_n(1_000_000, 4);
    let text = plot(&two, Unit::Nanoseconds, 60);
    let bars: Vec<usize> = text.lines().map(|line| line.matches('█').count()).collect();
    let longest = bars.iter().copied().max().expect("bars");
    assert!(bars.first().expect("a line").abs_diff(longest / 4) <= 1 && bars.last() == Some(&longest), "{text}");
    // What is hardly there is seen, and what is not there is not.
    two.record_n(1_000_000, 1_000_000);
    let lines = plot(&two, Unit::Nanoseconds, 60);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].contains('▏') && !lines[1].contains('▏'), "{lines:?}");
}

#[test]
fn nothing_is_said_in_words() {
    assert_eq!(plot(&Counts::new(), Unit::Nanoseconds, 80), "  nothing was recorded\n");
}
