//! Latencies of calls, as a histogram of clock ticks.

use hdrhistogram::Histogram;

use super::Outcome;
use super::clock::Clock;

/// Largest value that is kept apart, in ticks: well over ten seconds.
const TICKS_MAX: u64 = 1 << 36;

/// Significant decimal digits of what is kept.
const DIGITS: u8 = 3;

/// Latencies of many calls. Recording costs a few nanoseconds and never allocates.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self(Histogram::new_with_bounds(1, TICKS_MAX, DIGITS)?))
    }

    /// Counts one call.
    #[inline]
    pub(crate) fn record(&mut self, ticks: u64) {
        self.0.saturating_record(ticks);
    }

    /// The percentiles that are reported.
    pub(crate) fn percentiles(&self, clock: Clock) -> Percentiles {
        let at = |quantile| clock.nanos(self.0.value_at_quantile(quantile));
        Percentiles { p50_ns: at(0.5), p99_ns: at(0.99), p999_ns: at(0.999), max_ns: clock.nanos(self.0.max()) }
    }
}

/// Percentiles in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    /// Half of the calls took at most this.
    pub(crate) p50_ns: f64,
    /// 99 of 100.
    pub(crate) p99_ns: f64,
    /// 999 of 1000.
    pub(crate) p999_ns: f64,
    /// The longest.
    pub(crate) max_ns: f64,
}

impl Percentiles {
    /// The median of each over several rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let over = |number: fn(&Self) -> f64| super::stats::median_of(rounds, number);
        Self {
            p50_ns: over(|round| round.p50_ns),
            p99_ns: over(|round| round.p99_ns),
            p999_ns: over(|round| round.p999_ns),
            max_ns: over(|round| round.max_ns),
        }
    }

    /// With their names in reports.
    pub(crate) fn named(self) -> [(&'static str, f64); 4] {
        [("p50_ns", self.p50_ns), ("p99_ns", self.p99_ns), ("p999_ns", self.p999_ns), ("max_ns", self.max_ns)]
    }
}
