//! Numbers as a person reads them: in tables. `--json` has them as they are.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

/// A count with its thousands apart: 1,234,567.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let first = (digits.len() - 1) % 3 + 1;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        text.push(',');
        text.extend(group.iter().copied().map(char::from));
    }
    text
}

/// A number of things: 1 event, 2 events.
pub(crate) fn some(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Sequences, with the last of them: `0 to 511`. `-` where there is none.
pub(crate) fn range(sequences: Range<u64>) -> String {
    match sequences.end.checked_sub(1).filter(|last| *last >= sequences.start) {
        Some(last) => format!("{} to {last}", sequences.start),
        None => "-".to_owned(),
    }
}

/// Bytes in the largest unit of which there is one: 999 B, 1.2 KiB, 34 GiB.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded up to 1024 is 1.0 of the next unit.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        (scaled, unit) = (scaled / 1024.0, unit + 1);
    }
    let precision = if scaled < 9.95 { 1 } else { 0 };
    format!("{scaled:.precision$} {}", UNITS[unit])
}

/// A length of time with three digits or its two largest units: 830 us, 4.52 s, 3m20s, 2h05m, 4d07h.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    match nanoseconds {
        0..=999 => format!("{nanoseconds} ns"),
        1_000..=999_499 => format!("{} us", digits(nanoseconds as f64 / 1e3)),
        999_500..=999_499_999 => format!("{} ms", digits(nanoseconds as f64 / 1e6)),
        999_500_000..=59_949_999_999 => format!("{} s", digits(nanoseconds as f64 / 1e9)),
        _ if seconds < 3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Events in a time: 12.5/s. `-` where there is no time to speak of.
pub(crate) fn rate(events: u64, nanoseconds: u64) -> String {
    match per_second(events, nanoseconds) {
        Some(rate) if rate < 999.5 => format!("{}/s", digits(rate)),
        Some(rate) => format!("{}/s", count(rate.round() as u64)),
        None => "-".to_owned(),
    }
}

/// Events a second, where there is a time.
pub(crate) fn per_second(events: u64, nanoseconds: u64) -> Option<f64> {
    (nanoseconds > 0).then(|| events as f64 * 1e9 / nanoseconds as f64)
}

/// The time from a start: +0.000 s.
pub(crate) fn offset(nanoseconds: u64) -> String {
    format!("+{:.3} s", nanoseconds as f64 / 1e9)
}

/// A time to the millisecond, RFC 3339 in UTC.
pub(crate) fn time(nanoseconds: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds));
    time.map_or_else(|_| nanoseconds.to_string(), |time| format!("{time:.3}"))
}

/// The distance of two times, for a person.
pub(crate) fn ago(length: Duration) -> String {
    duration(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
}

/// Three digits.
fn digits(number: f64) -> String {
    let precision = match number {
        number if number < 9.995 => 2,
        number if number < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.precision$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_form_that_fits_their_size() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([some(1, "event"), some(1200, "event")], ["1 event", "1,200 events"]);
        assert_eq!(
            [0, 1023, 1024, 10_240, 1_048_575, 1 << 20, 34 << 30, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "1.0 MiB", "34 GiB", "16 EiB"]
        );
        let second = 1_000_000_000;
        assert_eq!(
            [0, 999, 1_000, 830_000, 999_499, 999_500, 12_345_678, 4_519_000_000].map(duration),
            ["0 ns", "999 ns", "1.00 us", "830 us", "999 us", "1.00 ms", "12.3 ms", "4.52 s"]
        );
        assert_eq!(
            [59_900_000_000, 60 * second, 200 * second, 7500 * second, 370_800 * second].map(duration),
            ["59.9 s", "1m00s", "3m20s", "2h05m", "4d07h"]
        );
        assert_eq!(duration(u64::MAX), "213503d23h");
        assert_eq!([rate(25, 2 * second), rate(5000, second), rate(5, 0)], ["12.5/s", "5,000/s", "-"]);
        assert_eq!([offset(0), offset(1_234_567_890)], ["+0.000 s", "+1.235 s"]);
        assert_eq!(time(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123Z");
    }
}
