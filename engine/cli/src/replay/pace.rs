//! When an event is due.

use std::time::{Duration, Instant};

use crate::args::Speed;

/// Keeps a replay at a multiple of the recorded pace, counted from its first event: a wait that takes too long is made
/// up for by the next.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Speed,
    start: Option<(Instant, u64)>,
}

impl Pace {
    /// A pace whose first event is due at once.
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    /// How long to wait before the event with this timestamp, in nanoseconds, is printed. `None`: it is due.
    pub(super) fn wait(&mut self, timestamp: u64) -> Option<Duration> {
        let Speed::Factor(factor) = self.speed else { return None };
        let &mut (start, first) = self.start.get_or_insert_with(|| (Instant::now(), timestamp));
        let due = due(timestamp.saturating_sub(first), factor);
        due.checked_sub(start.elapsed()).filter(|wait| !wait.is_zero())
    }
}

/// Time after the first event at which one is due that was recorded `nanoseconds` after it.
fn due(nanoseconds: u64, factor: f64) -> Duration {
    // Beyond what a duration holds (some 10^11 years) nobody waits for the difference.
    Duration::try_from_secs_f64(nanoseconds as f64 / factor / 1e9).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_at_a_multiple_of_the_recorded_pace() {
        assert_eq!(due(3_000_000_000, 1.0), Duration::from_secs(3));
        assert_eq!(due(3_000_000_000, 2.0), Duration::from_millis(1500));
        assert_eq!(due(3_000_000_000, 0.5), Duration::from_secs(6));
        assert_eq!(due(u64::MAX, f64::MIN_POSITIVE), Duration::MAX);
    }

    #[test]
    fn first_event_is_due_at_once_and_a_later_one_is_not() {
        let mut pace = Pace::new(Speed::Factor(1.0));
        assert_eq!(pace.wait(5_000_000_000), None);
        assert!(pace.wait(3_605_000_000_000).is_some_and(|wait| wait > Duration::from_secs(3500)));
        assert_eq!(pace.wait(4_000_000_000), None, "an earlier timestamp is due");
        assert_eq!(Pace::new(Speed::Max).wait(u64::MAX), None);
    }
}
