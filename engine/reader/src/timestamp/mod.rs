//! Timestamps: nanoseconds since the Unix epoch, without a system call.
//!
//! Promises:
//! * one generator's timestamps strictly increase, whatever the clocks do;
//! * all generators of a process read one [`Clock`], so stamps of different threads compare: one drawn after another,
//!   by happens-before, is larger if it was drawn from [`TimeSource::Ordered`], and otherwise at most 1 us smaller;
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

/// The source of an event's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// It is read from the clock. The processor may read the counter some hundred instructions early, before a load
    /// that precedes it in the program.
    Clock,
    /// It is read from the clock once the processor has done everything that precedes it: larger than every time that
    /// the thread can have seen. Costs 12 ns more than [`TimeSource::Clock`].
    Ordered,
    /// It is one nanosecond after that of the event before.
    Derived,
    /// It comes later, by [`Timestamps::next_group`]; the event has the last one until then.
    Pending,
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
            TimeSource::Ordered => self.next_ordered(),
            TimeSource::Derived => {
                self.last = self.last.saturating_add(1);
                self.last
            }
            TimeSource::Pending => self.last,
        }
    }

    /// The next timestamp, larger than every one that the thread can have seen.
    #[inline(always)]
    fn next_ordered(&mut self) -> u64 {
        self.last = self.clock.ordered_by(&mut self.scale).max(self.last.saturating_add(1));
        self.last
    }

    /// Timestamps of `count` events that were made one after the other, the last of them just now: consecutive
    /// nanoseconds, the first of which is returned. Each is larger than every one that the thread had seen when it made
    /// the event: to make an event takes longer than a nanosecond. One look at the clock.
    #[doc(hidden)]
    #[inline]
    pub fn next_group(&mut self, count: u64) -> u64 {
        let earlier = count.saturating_sub(1);
        let last = self.clock.ordered_by(&mut self.scale);
        let first = last.saturating_sub(earlier).max(self.last.saturating_add(1));
        self.last = first.saturating_add(earlier);
        first
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
