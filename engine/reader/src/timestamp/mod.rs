//! Timestamps: nanoseconds since the Unix epoch, without a system call.
//!
//! Promises:
//! * one generator's timestamps strictly increase, whatever the clocks do;
//! * all generators of a process read one [`Clock`], so stamps of different threads compare: one drawn after another,
//!   by happens-before, is at most 1 us smaller;
//! * the clock is set to the wall once, when the process first asks, and runs with `CLOCK_BOOTTIME` from there: with
//!   real time, also over a suspend. A wall clock that is stepped later (settimeofday, a leap second) is not followed
//!   until the process restarts;
//! * an event that sets the counter or changes its rate (suspend, hibernation, migration) is mended within about a
//!   second: the clock steps forward at once, and where it is ahead runs on at the right rate, less 500 ppm. It never
//!   stands.
//!
//! [`TimestampGenerator::next`] costs about 10 ns where the kernel itself keeps time by the TSC, most of it the
//! instruction, and about 30 ns through the vDSO elsewhere.

mod clock;
#[cfg(any(test, feature = "seam"))]
pub mod machine;
mod scale;
#[cfg(test)]
mod tests;

pub use clock::Clock;

use scale::KeptScale;

/// Where an event has its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// It is read from the clock.
    Clock,
    /// It is one nanosecond after that of the event before.
    Derived,
}

/// Draws strictly increasing timestamps. One owner: each producer has its own.
#[derive(Debug)]
pub struct TimestampGenerator {
    clock: &'static Clock,
    scale: KeptScale,
    last: u64,
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

    /// A generator on this clock.
    pub fn with_clock(clock: &'static Clock) -> Self {
        Self { clock, scale: clock.keep(), last: 0 }
    }

    /// The next timestamp in nanoseconds since the Unix epoch, larger than every earlier one. Where the clock has not
    /// moved on, or went back, it is the last one plus 1. The numbers end in the year 2554.
    // The name is the predecessor's; an iterator would promise an end.
    #[allow(clippy::should_implement_trait)]
    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.last = self.clock.now_by(&mut self.scale).max(self.last.saturating_add(1));
        self.last
    }

    /// The next timestamp without a look at the clock: one nanosecond after the last. For runs of events that are made
    /// at once.
    #[inline(always)]
    pub fn follow(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// The next timestamp from this source.
    #[doc(hidden)]
    #[inline(always)]
    pub fn draw(&mut self, source: TimeSource) -> u64 {
        match source {
            TimeSource::Clock => self.next(),
            TimeSource::Derived => self.follow(),
        }
    }

    /// The last timestamp drawn, or the floor; 0 before the first.
    #[inline]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// From here on every timestamp is larger than `floor`: after a restart, the largest one on disk. Never lowers it.
    pub fn at_least(&mut self, floor: u64) {
        self.last = self.last.max(floor);
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
