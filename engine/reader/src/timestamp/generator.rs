//! The generator that threads share.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::Clock;

/// Draws strictly increasing timestamps, for any number of threads. Producers stamp their events by the same clock.
///
/// ```
/// use tapeline_reader::TimestampGenerator;
///
/// let generator = TimestampGenerator::new();
/// let first = generator.next();
/// let second = std::thread::scope(|threads| threads.spawn(|| generator.next()).join().unwrap());
/// assert!(first < second && generator.last() == second);
/// ```
#[derive(Debug)]
pub struct TimestampGenerator {
    clock: &'static Clock,
    /// SYNC: stands for itself alone, so Relaxed: its changes have one order, which no thread sees backwards.
    last: AtomicU64,
}

impl Default for TimestampGenerator {
    fn default() -> Self {
        Self::new()
    }
}

impl TimestampGenerator {
    /// A generator on the clock of the process. The first one calibrates it, which takes some 5 ms.
    pub fn new() -> Self {
        Self::with_clock(Clock::global())
    }

    pub(super) fn with_clock(clock: &'static Clock) -> Self {
        Self { clock, last: AtomicU64::new(0) }
    }

    /// The next timestamp in nanoseconds since the Unix epoch, larger than every one that this generator gave before.
    /// Where the clock has not moved on, or went back, it is the last one plus 1. The numbers end in the year 2554.
    // The name is the predecessor's; an iterator would promise an end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> u64 {
        let now = self.clock.now();
        let after = |last: u64| now.max(last.saturating_add(1));
        let mut last = self.last.load(Relaxed);
        while let Err(changed) = self.last.compare_exchange_weak(last, after(last), Relaxed, Relaxed) {
            last = changed;
        }
        after(last)
    }

    /// The last timestamp drawn; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// The counter under the clock: ticks of the TSC, or nanoseconds of `CLOCK_BOOTTIME` from an arbitrary zero. The
    /// cheapest way to mark a moment; draws no timestamp.
    #[inline]
    pub fn now_raw(&self) -> u64 {
        self.clock.raw()
    }

    /// The moment of a raw reading, in nanoseconds since the Unix epoch.
    #[inline]
    pub fn raw_to_nanos(&self, raw: u64) -> u64 {
        self.clock.nanos_at(raw)
    }

    /// Nanoseconds between two raw readings; 0 where `end` is the earlier one.
    #[inline]
    pub fn delta_ns(&self, start: u64, end: u64) -> u64 {
        self.clock.delta_ns(start, end)
    }
}
