//! Pacing: events handed out as fast as they came, or a multiple of it, and how well that went.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The rate at which events are handed out.
///
/// ```
/// use tapeline_reader::Speed;
///
/// assert_eq!("2.5".parse(), Ok(Speed::Factor(2.5)));
/// assert_eq!("max".parse(), Ok(Speed::Max));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as they can be read.
    Max,
    /// At this multiple of the recorded pace: 1 is as recorded, 2 twice as fast. Not above 0 counts as [`Speed::Max`].
    Factor(f64),
}

/// The text is no [`Speed`].
///
/// ```
/// use tapeline_reader::{ParseSpeedError, Speed};
///
/// assert_eq!("-1".parse::<Speed>(), Err(ParseSpeedError));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a positive number nor max")]
pub struct ParseSpeedError;

impl FromStr for Speed {
    type Err = ParseSpeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
        factor.map(Self::Factor).ok_or(ParseSpeedError)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Factor(factor) => factor.fmt(f),
        }
    }
}

/// Says when events are due, counted from the first: a delay is not passed on to the events after it. Notes by how much
/// each one missed its time.
///
/// ```
/// use tapeline_reader::{Pacer, Speed};
///
/// let mut pacer = Pacer::new(Speed::Factor(100.0));
/// for insertion_ts in [0, 1_000_000] {
///     if let Some(wait) = pacer.wait(insertion_ts) {
///         std::thread::sleep(wait);
///     }
///     pacer.played(insertion_ts);
/// }
/// assert_eq!(pacer.error().events, 2);
/// ```
#[derive(Debug)]
pub struct Pacer {
    speed: Speed,
    /// Longest pause.
    idle_max: Option<Duration>,
    start: Option<Start>,
    late: Option<Histogram<u64>>,
}

/// The first event, and how far the pace has come.
#[derive(Debug, Clone, Copy)]
struct Start {
    at: Instant,
    first: u64,
    last: u64,
    /// The time that was left out of pauses.
    skipped: Duration,
}

/// The errors of a pace: the time between when events were due and when they were handed out, within 0.1 %.
///
/// ```
/// use tapeline_reader::{Pacer, Speed};
///
/// let mut pacer = Pacer::new(Speed::Factor(1000.0));
/// pacer.wait(0);
/// let missed = pacer.error();
/// println!("{} events, half of them within {:?}, all within {:?}", missed.events, missed.p50, missed.max);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PacingError {
    /// Events that were paced.
    pub events: u64,
    /// The median.
    pub p50: Duration,
    /// 99 of 100 events missed their time by no more.
    pub p99: Duration,
    /// No event missed it by more.
    pub max: Duration,
}

impl Pacer {
    /// A pace whose first event is due at once.
    pub fn new(speed: Speed) -> Self {
        Self { speed, idle_max: None, start: None, late: Histogram::new(3).ok() }
    }

    /// The same with no pause longer than `longest`, whatever was recorded.
    #[must_use]
    pub fn limit_idle(mut self, longest: Duration) -> Self {
        self.idle_max = Some(longest);
        self
    }

    /// The time to wait before an event with this `insertion_ts` is due. `None`: it is. Counts the time from the first
    /// call.
    pub fn wait(&mut self, insertion_ts: u64) -> Option<Duration> {
        let due = self.due(insertion_ts)?;
        due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// The event with this `insertion_ts` is handed out now.
    pub fn played(&mut self, insertion_ts: u64) {
        if let Some(due) = self.due(insertion_ts)
            && let Some(late) = &mut self.late
        {
            let now = Instant::now();
            let missed = now.saturating_duration_since(due).max(due.saturating_duration_since(now));
            // It grows to hold any number.
            let _ = late.record(u64::try_from(missed.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// The errors of the pace so far. All 0 at [`Speed::Max`].
    pub fn error(&self) -> PacingError {
        self.late.as_ref().map_or_else(PacingError::default, |late| PacingError {
            events: late.len(),
            p50: Duration::from_nanos(late.value_at_quantile(0.5)),
            p99: Duration::from_nanos(late.value_at_quantile(0.99)),
            max: Duration::from_nanos(late.max()),
        })
    }

    fn due(&mut self, timestamp: u64) -> Option<Instant> {
        let Speed::Factor(factor) = self.speed else { return None };
        if factor.is_nan() || factor <= 0.0 {
            return None;
        }
        let start = Start { at: Instant::now(), first: timestamp, last: timestamp, skipped: Duration::ZERO };
        let start = self.start.get_or_insert(start);
        if let Some(longest) = self.idle_max {
            start.skipped += after(timestamp.saturating_sub(start.last), factor).saturating_sub(longest);
        }
        start.last = start.last.max(timestamp);
        start.at.checked_add(after(timestamp.saturating_sub(start.first), factor).saturating_sub(start.skipped))
    }
}

/// The latest that an event is due after the first: a hundred years. Clocks hold such a time, and no program waits for
/// the difference.
const DUE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Time after the first event at which one is due that was recorded `nanoseconds` after it.
fn after(nanoseconds: u64, factor: f64) -> Duration {
    Duration::try_from_secs_f64(nanoseconds as f64 / factor / 1e9).map_or(DUE_MAX, |after| after.min(DUE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_at_a_multiple_of_the_recorded_pace() {
        assert_eq!(after(3_000_000_000, 1.0), Duration::from_secs(3));
        assert_eq!(after(3_000_000_000, 2.0), Duration::from_millis(1500));
        assert_eq!(after(3_000_000_000, 0.5), Duration::from_secs(6));
        assert_eq!(after(u64::MAX, f64::MIN_POSITIVE), DUE_MAX);
    }

    #[test]
    fn slowest_pace_waits() {
        for factor in [f64::MIN_POSITIVE, 1e-300, 1e-20] {
            let mut pacer = Pacer::new(Speed::Factor(factor));
            assert_eq!(pacer.wait(0), None, "the first is due at once");
            assert!(pacer.wait(1_000_000_000) > Some(Duration::from_secs(86_400)), "{factor}");
        }
    }

    #[test]
    fn pauses_are_no_longer_than_asked_for() {
        let second = 1_000_000_000;
        let mut pacer = Pacer::new(Speed::Factor(2.0)).limit_idle(Duration::from_secs(1));
        assert_eq!(pacer.wait(0), None);
        // Half a second at this pace, then an hour that is cut to a second, then half a second again.
        for (timestamp, least, most) in [(second, 400, 500), (7201 * second, 1400, 1500), (7202 * second, 1900, 2000)] {
            let wait = pacer.wait(timestamp).map_or(0, |wait| wait.as_millis());
            assert!((least..=most).contains(&wait), "{timestamp}: {wait}");
            assert!(pacer.wait(timestamp).is_some(), "asked again, the same");
        }
    }

    #[test]
    fn speed_is_a_positive_factor_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Factor(2.5)));
        for refused in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert_eq!(refused.parse::<Speed>(), Err(ParseSpeedError), "{refused}");
        }
    }

    #[test]
    fn no_pace_is_no_wait_and_no_error() {
        for speed in [Speed::Max, Speed::Factor(0.0), Speed::Factor(-1.0), Speed::Factor(f64::NAN)] {
            let mut pacer = Pacer::new(speed);
            assert_eq!((pacer.wait(5), pacer.wait(u64::MAX)), (None, None));
            pacer.played(5);
            assert_eq!(pacer.error(), PacingError::default());
        }
    }

    #[test]
    fn missed_times_are_noted() {
        let mut pacer = Pacer::new(Speed::Factor(1.0));
        assert_eq!(pacer.wait(0), None, "the first is due at once");
        assert!(pacer.wait(3_600_000_000_000) > Some(Duration::from_secs(3_500)));
        pacer.played(0);
        pacer.played(3_600_000_000_000);
        let error = pacer.error();
        assert_eq!(error.events, 2);
        assert!(error.max > Duration::from_secs(3_500), "played an hour early");
    }
}
