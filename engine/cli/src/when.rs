//! Times as a person writes them: RFC 3339, a date, `now`, or a while ago (`-5m`).

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// A time: nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct When(pub(crate) u64);

impl When {
    /// What `text` means at the time `now`.
    fn at(text: &str, now: u64) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self(now));
        }
        if let Some(ago) = text.strip_prefix('-') {
            let ago = parse_duration(ago).map_err(|error| format!("{error}, and with - in front for a while ago"))?;
            let ago = u64::try_from(ago.as_nanos()).map_err(|_| "longer ago than times go back".to_owned())?;
            return Ok(Self(now.saturating_sub(ago)));
        }
        let zoned = text.parse::<Timestamp>();
        // Without an offset it is UTC, which is what this program prints.
        let civil = || text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(Into::into)).ok();
        let time = match (zoned, civil) {
            (Ok(time), _) => time,
            (Err(error), civil) => civil()
                .and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok())
                .ok_or_else(|| format!("{error}; a time is written 2026-01-31T12:00:00Z, 2026-01-31, -5m or now"))?,
        };
        u64::try_from(time.as_nanosecond()).map(Self).map_err(|_| "times begin with the year 1970".to_owned())
    }
}

/// A length of time as a person writes it: `90s`, `5m`, `1h30m`, `7d`. A day has 24 hours.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let example = |error: jiff::Error| format!("{error}; a length of time is written 500ms, 90s, 1h30m, 7d");
    let span: Span = text.parse().map_err(example)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(example)?;
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

    #[test]
    fn times_are_absolute_or_a_while_ago() {
        let at = |text| When::at(text, NOW).map(|when| when.0);
        assert_eq!(at("now"), Ok(NOW));
        assert_eq!(at("-5m"), Ok(NOW - 300_000_000_000));
        assert_eq!(at("-1h30m"), Ok(NOW - 5_400_000_000_000));
        assert_eq!(at("-1.5s"), Ok(NOW - 1_500_000_000));
        assert_eq!(at("-2d"), Ok(NOW - 172_800_000_000_000));
        assert_eq!(at("2023-11-14T22:13:20Z"), Ok(NOW));
        assert_eq!(at("2023-11-14T23:13:20+01:00"), Ok(NOW));
        assert_eq!(at("2023-11-14T22:13:20.000000001"), Ok(NOW + 1));
        assert_eq!(at("2023-11-14"), Ok(NOW - (22 * 3600 + 13 * 60 + 20) * 1_000_000_000));
    }

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(["5", "-5s", "soon", ""].iter().all(|text| parse_duration(text).is_err()));
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "yesterday", "-", "-5", "2023-13-01", "1969-12-31T00:00:00Z", "12:00"] {
            assert!(When::at(text, NOW).is_err(), "{text:?}");
        }
        assert!(When::at("soon", NOW).unwrap_err().contains("-5m"));
    }
}
