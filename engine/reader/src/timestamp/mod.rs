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
//! A timestamp costs about 10 ns where the kernel itself keeps time by the TSC, most of it the instruction, and about
//! 30 ns through the vDSO elsewhere. [`TimestampGenerator`] adds one atomic exchange to that, because threads may share
//! it; [`Timestamps`], which has one owner, adds nothing.

mod clock;
mod generator;
#[cfg(any(test, feature = "seam"))]
pub mod machine;
mod scale;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use generator::TimestampGenerator;

use scale::KeptScale;

/// Where an event has its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// It is read from the clock.
    Clock,
    /// It is one nanosecond after that of the event before.
    Derived,
}

/// Draws strictly increasing timestamps for one owner: each producer has its own.
#[derive(Debug)]
pub struct Timestamps {
    clock: &'static Clock,
    scale: KeptScale,
    last: u64,
}

impl Timestamps {
    /// Timestamps of this clock.
    pub fn new(clock: &'static Clock) -> Self {
        Self { clock, scale: clock.keep(), last: 0 }
    }

    /// The next timestamp from the clock, in nanoseconds since the Unix epoch. Where the clock has not moved on, or
    /// went back, it is the last one plus 1.
    // Not an iterator: it has no end.
    #[allow(clippy::should_implement_trait)]
    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.last = self.clock.now_by(&mut self.scale).max(self.last.saturating_add(1));
        self.last
    }

    /// The next timestamp from this source.
    #[inline(always)]
    pub fn draw(&mut self, source: TimeSource) -> u64 {
        match source {
            TimeSource::Clock => self.next(),
            TimeSource::Derived => {
                self.last = self.last.saturating_add(1);
                self.last
            }
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
}
