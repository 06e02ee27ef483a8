//! Times as a person writes them: RFC 3339, with a zone in brackets if need be, a date, a number of seconds since 1970,
//! `now`, or a while ago (`-5m`).

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::{DateTimeParser, Pieces};
use jiff::tz::{Disambiguation, Offset, TimeZone};
use jiff::{Span, SpanRelativeTo, Timestamp};

/// The forms of times, for messages.
const EXAMPLES: &str = "a time is written 2026-01-31T12:00:00Z, 2026-01-31T12:00:00-05:00, 2026-01-31 (midnight in UTC), \
                        1700000000 (seconds since 1970), -5m (five minutes ago) or now";

/// The meaning of numbers, for messages.
const NUMBERS: &str = "a number is a time since 1970: seconds if it has 9 or 10 digits, milliseconds with 12 or 13, \
                       microseconds with 15 or 16, nanoseconds with 18 or 19; any seconds after @";

/// Offsets that zones have had since 1970, in seconds east of UTC.
const OFFSETS: RangeInclusive<i32> = -12 * 3600..=14 * 3600;

/// The forms of lengths of time, for messages.
const LENGTHS: &str = "a length of time is written 500ms, 90s, 5m, 1h30m, 7d, 2w";

/// The last time there is, for messages.
const LATEST: &str = "times end with July 2554";

/// No time is later than the beginning of this year.
const LATEST_YEAR: &str = "2555";

const SECOND: u64 = 1_000_000_000;

/// A time: nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct When(pub(crate) u64);

impl When {
    /// Reads `text` at the time `now`.
    fn at(text: &str, now: u64) -> Result<Self, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(Self(now));
        }
        if let Some(length) = text.strip_prefix('-') {
            return ago(length, now).map(Self);
        }
        if let Some(seconds) = text.strip_prefix('@') {
            return number(seconds, SECOND).map(Self).ok_or_else(|| NUMBERS.to_owned());
        }
        if let Some(time) = number_by_its_digits(text) {
            return time.map(Self);
        }
        if !text.contains(':') && text.parse::<Span>().is_ok() {
            let length = text.trim_start_matches('+').trim_end_matches("ago").trim_end();
            return Err(format!("{text} is a length of time; for so long ago write -{length}"));
        }
        let time = if text.contains('[') { zoned(text)? } else { civil(&without_space_before_zone(text))? };
        if time < Timestamp::UNIX_EPOCH {
            return Err("times begin with the year 1970".to_owned());
        }
        u64::try_from(time.as_nanosecond()).map(Self).map_err(|_| LATEST.to_owned())
    }
}

/// The time that a number means by how many digits it has. `None` where it is no number, or a date without hyphens.
fn number_by_its_digits(text: &str) -> Option<Result<u64, String>> {
    if text.trim_end_matches(['0', '.']).is_empty() && text.starts_with('0') {
        return Some(Err(format!("is {text} a time? @0 is the beginning of 1970, -0s is now; {EXAMPLES}")));
    }
    let whole = text.split('.').next().unwrap_or_default();
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let is_number = !whole.is_empty() && [whole, fraction].concat().bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (text.len() == 8 && text.parse::<Date>().is_ok()) {
        return None;
    }
    let unit = match whole.len() {
        9 | 10 => Some(SECOND),
        12 | 13 => Some(1_000_000),
        15 | 16 => Some(1_000),
        18 | 19 => Some(1),
        _ => None,
    };
    Some(unit.and_then(|unit| number(text, unit)).ok_or_else(|| NUMBERS.to_owned()))
}

/// A number of units of so many nanoseconds, which may have a fraction.
fn number(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let nanos = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut part = 0;
    let mut worth = unit;
    for digit in fraction.bytes() {
        worth /= 10;
        part += u64::from(digit - b'0') * worth;
    }
    nanos.checked_add(part)
}

/// So long ago. Months and years are those of the calendar.
fn ago(length: &str, now: u64) -> Result<u64, String> {
    let words = |_| {
        if is_too_long(length) {
            format!("-{length} is longer ago than times go: they begin with the year 1970; @0 is its beginning")
        } else {
            format!("with - in front a time is a while ago: -30s, -5m, -1h30m, -7d, -1mo, -1y; {EXAMPLES}")
        }
    };
    if length.starts_with(['-', '+']) {
        return Err(format!("one - is enough: -{}", length.trim_start_matches(['-', '+'])));
    }
    if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "of what unit? -{length}s are seconds, -{length}m minutes, -{length}h hours, -{length}d days"
        ));
    }
    let span: Span = length.parse().map_err(words)?;
    if span.is_negative() {
        return Err("a while ago is not negative".to_owned());
    }
    let now = Timestamp::from_nanosecond(i128::from(now)).map_err(words)?.to_zoned(TimeZone::UTC);
    // What would be before 1970 is all there is.
    let then = now.saturating_sub(span).timestamp().as_nanosecond();
    Ok(u64::try_from(then).unwrap_or(0))
}

/// Returns whether a length of time is written as it should be, and only its numbers are beyond all bounds.
fn is_too_long(length: &str) -> bool {
    let mut digits_before = false;
    let small = length.chars().filter_map(|character| {
        let is_first = !std::mem::replace(&mut digits_before, character.is_ascii_digit());
        let digit = is_first.then_some('1');
        if character.is_ascii_digit() { digit } else { Some(character) }
    });
    small.collect::<String>().parse::<Span>().is_ok()
}

/// A time as `git log --date=iso` and `date -u` write it, with a space before its offset or `UTC`, without that space.
fn without_space_before_zone(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(' ') {
        Some((time, "UTC" | "GMT" | "Z" | "z")) if time.contains(':') => Cow::Owned(format!("{}Z", time.trim_end())),
        Some((time, offset)) if time.contains(':') && offset.starts_with(['+', '-']) => {
            Cow::Owned(format!("{}{offset}", time.trim_end()))
        }
        _ => Cow::Borrowed(text),
    }
}

/// A time with a zone in brackets.
fn zoned(text: &str) -> Result<Timestamp, String> {
    let zone = text.split(['[', ']']).nth(1).unwrap_or_default().trim_start_matches('!');
    if zone.is_empty() {
        return Err(format!("the brackets have the name of a zone: 2026-01-31T12:00:00[America/New_York]; {EXAMPLES}"));
    }
    let parser = DateTimeParser::new().disambiguation(Disambiguation::Reject);
    check_offset(Pieces::parse(text).ok().and_then(|pieces| pieces.to_numeric_offset()))?;
    let zoned = parser.parse_zoned(text).map_err(|_| {
        let offset = "write it with its offset: 2026-01-31T12:00:00-05:00";
        if !zone.is_empty() && !zone.contains('=') && TimeZone::get(zone).is_err() {
            return format!("this machine knows no time zone {zone} (looked for in /usr/share/zoneinfo); {offset}");
        }
        if text.split('[').next().is_none_or(|local| civil(local).is_err()) {
            return EXAMPLES.to_owned();
        }
        // The zone does not fit, then.
        format!(
            "in {zone} there is no such time, or there are two (when clocks are changed), or its offset is another; \
             {offset}"
        )
    })?;
    check_offset(Some(zoned.offset()))?;
    Ok(zoned.timestamp())
}

/// Refuses an offset that no place on earth has.
fn check_offset(offset: Option<Offset>) -> Result<(), String> {
    match offset.filter(|offset| !OFFSETS.contains(&offset.seconds())) {
        Some(offset) => Err(format!("no time zone is at {offset}: they lie from -12:00 to +14:00; {EXAMPLES}")),
        None => Ok(()),
    }
}

/// A time with an offset, or without: then it is UTC, which is what this program prints.
fn civil(text: &str) -> Result<Timestamp, String> {
    check_offset(Pieces::parse(text).ok().and_then(|pieces| pieces.to_numeric_offset()))?;
    let local = || text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(Into::into));
    text.parse::<Timestamp>().or_else(|_| local().and_then(|local| TimeZone::UTC.to_timestamp(local))).map_err(|_| {
        if !has_form_of_date(text) {
            return EXAMPLES.to_owned();
        }
        if let Some(zone) = abbreviation(text) {
            return format!(
                "{zone} is refused: abbreviations mean several zones; write the offset, as 2026-01-31T12:00:00-05:00, or \
                 the zone's name, as 2026-01-31T12:00:00[America/New_York]"
            );
        }
        if text >= LATEST_YEAR {
            return LATEST.to_owned();
        }
        format!(
            "the calendar has no such day, or the clock no such time, or the time is written in another way; \
             {EXAMPLES}"
        )
    })
}

/// The letters at the end of a time that are to name its zone.
fn abbreviation(text: &str) -> Option<&str> {
    let time = text.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    let zone = &text[time.len()..];
    (zone.len() > 1 && time.len() > 10).then_some(zone)
}

/// True if a text begins as a date does, whatever its numbers are.
fn has_form_of_date(text: &str) -> bool {
    let form = text.bytes().take(10).map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    form.eq(*b"0000-00-00")
}

/// A length of time as a person writes it: `90s`, `5m`, `1h30m`, `7d`. A day has 24 hours.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let too_long = || format!("{text} is too long, at most some thousand years; {LENGTHS}");
    let span: Span = text.parse().map_err(|_| match () {
        () if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => format!("of what unit? {LENGTHS}"),
        () if is_too_long(text) => too_long(),
        () => LENGTHS.to_owned(),
    })?;
    if span.is_negative() {
        return Err("a length of time is not negative".to_owned());
    }
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(format!("months and years differ in length: write 30d, 365d; {LENGTHS}"));
    }
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| too_long())?;
    Duration::try_from(duration).map_err(|_| "a length of time is not negative".to_owned())
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "this machine's clock is before 1970")?;
        Self::at(text, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000_000;
    const DAY: u64 = 86_400 * SECOND;

    fn at(text: &str) -> Result<u64, String> {
        When::at(text, NOW).map(|when| when.0)
    }

    #[test]
    fn times_are_absolute_or_a_while_ago() {
        assert_eq!(at("now"), Ok(NOW));
        assert_eq!(at("-5m"), Ok(NOW - 300_000_000_000));
        assert_eq!(at("-1h30m"), Ok(NOW - 5_400_000_000_000));
        assert_eq!(at("-1.5s"), Ok(NOW - 1_500_000_000));
        assert_eq!(at("-2d"), Ok(NOW - 2 * DAY));
        assert_eq!(at("2023-11-14T22:13:20Z"), Ok(NOW));
        assert_eq!(at("2023-11-14T23:13:20+01:00"), Ok(NOW));
        assert_eq!(at("2023-11-14T22:13:20.000000001"), Ok(NOW + 1));
        assert_eq!(at("2023-11-14"), Ok(NOW - (22 * 3600 + 13 * 60 + 20) * SECOND));
        assert_eq!(at("20231114"), at("2023-11-14"));
    }

    #[test]
    fn a_space_may_stand_before_the_zone() {
        for text in ["2023-11-14 22:13:20 +0000", "2023-11-14T23:13:20 +01:00", "2023-11-14 17:13:20  -0500"] {
            assert_eq!(at(text), Ok(NOW), "{text}");
        }
        for text in ["2023-11-14 22:13:20 UTC", "2023-11-14 22:13:20 GMT", "2023-11-14T22:13:20 Z"] {
            assert_eq!(at(text), Ok(NOW), "{text}");
        }
        for text in ["2023-11-14 22:13:20 +2500", "2023-11-14 22:13:20 EST", "2023-11-14 +0000", "2023-11-14 UTC"] {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn abbreviations_of_zones_and_empty_brackets_are_refused_in_words() {
        for zone in ["EST", " EST", "PST", " CEST", " AEST", "BST"] {
            let error = at(&format!("2026-01-31T12:00:00{zone}")).expect_err("refused");
            assert!(error.starts_with(&format!("{} is refused: abbreviations", zone.trim())), "{error}");
        }
        assert!(at("2026-01-31 12:00 EST").is_err_and(|error| error.starts_with("EST is refused")));
        for text in ["[]", "2026-01-31T12:00:00[]", "2026-01-31T12:00:00Z[]", "2026-01-31T12:00:00[!]"] {
            assert!(at(text).is_err_and(|error| error.starts_with("the brackets")), "{text}: {:?}", at(text));
        }
    }

    #[test]
    fn months_and_years_ago_are_those_of_the_calendar() {
        assert_eq!(at("-1mo"), at("2023-10-14T22:13:20Z"));
        assert_eq!(at("-1y"), at("2022-11-14T22:13:20Z"));
        assert_eq!(at("-1y2mo3d"), at("2022-09-11T22:13:20Z"));
        assert_eq!(at("-2w"), Ok(NOW - 14 * DAY));
        // Before the first time there is.
        assert_eq!(at("-100y"), Ok(0));
        assert_eq!(at("-9000y"), Ok(0));
    }

    #[test]
    fn numbers_are_times_since_1970_by_how_many_digits_they_have() {
        for text in ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000", "@1700000000"] {
            assert_eq!(at(text), Ok(NOW), "{text}");
        }
        assert_eq!(at("1700000000.25"), Ok(NOW + SECOND / 4));
        assert_eq!(at("1700000000.0000000019"), Ok(NOW + 1));
        assert_eq!(at("1700000000000.5"), Ok(NOW + 500_000));
        assert_eq!(at("999999999"), Ok(999_999_999 * SECOND));
        assert_eq!((at("@0"), at("@7"), at("-0s")), (Ok(0), Ok(7 * SECOND), Ok(NOW)));
        for text in ["0", "00", "0.0", "0."] {
            assert!(at(text).is_err_and(|error| error.contains("@0 is the beginning of 1970")), "{text}");
        }
        for text in ["5", "17", "20269999", "17000000000", "20260131120000", "99999999999999999999", "@", "@x", "17.5"]
        {
            assert!(at(text).is_err_and(|error| error.contains("seconds if it has")), "{text}");
        }
    }

    #[test]
    fn days_and_times_that_there_are_not_are_called_so() {
        for text in ["2026-02-30", "2026-13-01", "2026-00-10T12:00:00Z", "2026-01-31T25:00", "2026-01-31 12:60:00Z"] {
            assert!(at(text).is_err_and(|error| error.starts_with("the calendar has no such day")), "{text}");
        }
        assert!(at("yesterday").is_err_and(|error| error == EXAMPLES));
    }

    #[test]
    fn zones_in_brackets_are_used_or_refused() {
        // The machine may have no zone data.
        if TimeZone::get("America/New_York").is_ok() {
            assert_eq!(at("2026-01-31T12:00:00[America/New_York]"), at("2026-01-31T17:00:00Z"));
            assert_eq!(at("2026-07-31T12:00[America/New_York]"), at("2026-07-31T16:00:00Z"));
            assert_eq!(at("2026-01-31T12:00:00-05:00[America/New_York]"), at("2026-01-31T17:00:00Z"));
            assert_eq!(at("2026-01-31T17:00:00Z[America/New_York]"), at("2026-01-31T17:00:00Z"));
            // Clocks go forward at two, and back at two; and an offset that the zone has not.
            for text in [
                "2026-03-08T02:30:00[America/New_York]",
                "2026-11-01T01:30:00[America/New_York]",
                "2026-01-31T12:00:00+03:00[America/New_York]",
            ] {
                assert!(at(text).is_err_and(|error| error.contains("offset")), "{text}: {:?}", at(text));
            }
        }
        assert!(at("2026-01-31T12:00:00[Mars/Olympus]").is_err_and(|error| error.contains("Mars/Olympus")));
        assert_eq!(at("2026-01-31T12:00:00[UTC]"), at("2026-01-31T12:00:00Z"));
        for text in ["soon[UTC]", "[", "[]", "2026-01-31T12:00:00[", "2026-01-31T12:00:00[]"] {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn offsets_that_no_zone_has_are_refused_and_those_there_are_taken() {
        for offset in ["+25:00", "-25:00", "+24:00", "+23:59", "+14:01", "-12:01", "+1530", "-18", "+25:59:59"] {
            for text in [format!("2026-01-31T12:00:00{offset}"), format!("2026-01-31T12:00:00[{offset}]")] {
                assert!(at(&text).is_err_and(|error| error.contains("2026-01-31T12:00:00")), "{text}: {:?}", at(&text));
            }
        }
        for offset in ["+26:00", "+99:00", "+5", "+05:60"] {
            assert!(at(&format!("2026-01-31T12:00:00{offset}")).is_err(), "{offset}");
        }
        assert_eq!(at("2026-01-31T12:00:00+14:00"), at("2026-01-30T22:00:00Z"));
        assert_eq!(at("2026-01-31T12:00:00-12:00"), at("2026-02-01T00:00:00Z"));
        assert_eq!(at("2026-01-31T12:00:00+05:45"), at("2026-01-31T06:15:00Z"));
    }

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2w"), Ok(Duration::from_secs(14 * 86_400)));
        for text in ["99999999999999999999d", "99999999999y", "1h99999999999999999999s"] {
            assert!(parse_duration(text).is_err_and(|error| error.contains("too long")), "{text}");
        }
        for text in ["5", "-5s", "soon", "", "1mo", "2y", "99999999999999999999d"] {
            let error = parse_duration(text).expect_err(text);
            assert!(!error.contains("parse") && !error.contains("days are assumed"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "yesterday", "2023-13-01", "2026-02-30", "12:00", "31.1.2026", "1.2.3", "2026-01-31T25:00:00Z"]
        {
            assert!(at(text).is_err_and(|error| error.contains("2026-01-31T12:00:00Z")), "{text}");
        }
        assert!(at("5m").is_err_and(|error| error.contains("-5m")));
        for text in ["+1h", "1h ago", "1h"] {
            assert!(at(text).is_err_and(|error| error.ends_with("write -1h")), "{text}: {:?}", at(text));
        }
        for text in ["-99999999999y", "-99999999999999999999y", "-1h99999999999999999999m", "-99999999999d"] {
            assert!(at(text).is_err_and(|error| error.contains("longer ago")), "{text}: {:?}", at(text));
        }
        assert!(at("-5x").is_err_and(|error| !error.contains("longer ago")));
        assert!(at("-1e9s").is_err_and(|error| !error.contains("longer ago")));
        assert!(at("PT5M").is_err_and(|error| error.contains("-PT5M")));
        assert!(at("-5").is_err_and(|error| error.contains("-5m")));
        assert!(at("--5m").is_err_and(|error| error.contains("-5m")));
        assert!(at("-").is_err() && at("-soon").is_err() && at("-99999999999999999999y").is_err());
        assert!(at("1969-12-31T00:00:00Z").is_err_and(|error| error.contains("1970")));
        for text in ["2555-01-01T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59Z"] {
            assert!(at(text).is_err_and(|error| error.contains("2554")), "{text}: {:?}", at(text));
        }
        // Later than a signed number of nanoseconds goes, and a second that UTC had once.
        assert_eq!(at("2263-01-01T00:00:00Z"), Ok(9_246_182_400 * SECOND));
        assert_eq!(at("2016-12-31T23:59:60Z"), at("2016-12-31T23:59:59Z"));
    }
}
