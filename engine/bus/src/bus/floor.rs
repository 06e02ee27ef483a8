//! The floor of timestamps: those of a writer run begin after what is in the log already.

use std::fmt;
use std::time::Duration;

use tapeline_storage::format::counted;

/// A log that is further ahead of the clock than this is not followed, in nanoseconds: more than clocks are set back by
/// in good order, little enough to be waited for.
const AHEAD_MAX_NS: u64 = 1_000_000_000;

/// The time that all events of this writer run come after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) timestamp: u64,
    /// The log was too far ahead of the clock: new events have times of the clock, and come below its last.
    pub(crate) ahead: Option<Ahead>,
}

/// By how much a log's last event is ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ahead(pub(crate) Duration);

impl Floor {
    /// After a log whose largest time is `last`, when the clock says `now`.
    pub(crate) fn of(last: u64, now: u64) -> Self {
        match last.saturating_sub(now) {
            ahead if ahead > AHEAD_MAX_NS => Self { timestamp: 0, ahead: Some(Ahead(Duration::from_nanos(ahead))) },
            _ => Self { timestamp: last, ahead: None },
        }
    }
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 3600;
        let seconds = self.0.as_secs();
        write!(f, "the log's last event is ")?;
        match seconds {
            0..=DAY => write!(f, "{seconds} s")?,
            _ => f.write_str(&counted(seconds / DAY, "day"))?,
        }
        write!(f, " ahead of the clock: new events get times of the clock, which are earlier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_a_little_ahead_is_followed_and_one_far_ahead_is_not() {
        let now = 1_800_000_000_000_000_000;
        assert_eq!(Floor::of(now - 5, now), Floor { timestamp: now - 5, ahead: None });
        assert_eq!(Floor::of(now + AHEAD_MAX_NS, now), Floor { timestamp: now + AHEAD_MAX_NS, ahead: None });
        for last in [now + AHEAD_MAX_NS + 1, u64::MAX] {
            let floor = Floor::of(last, now);
            assert_eq!((floor.timestamp, floor.ahead), (0, Some(Ahead(Duration::from_nanos(last - now)))));
        }
    }
}
