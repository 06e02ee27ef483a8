//! A clock whose reading costs less than what it measures.
//!
//! `Instant::now` costs 20-25 ns, as much as two ingests; the time-stamp counter costs about 10. Ticks are turned into
//! nanoseconds after the measurement. Nothing is subtracted from what is measured: the cost of one reading is reported
//! as `timer_overhead_ns` beside it. Some processors move the counter in steps, of 10 ns for one: percentiles that
//! differ by less do not differ.

use std::time::{Duration, Instant};

use super::stats::median;

/// The time for which the counter is compared with the system's clock.
const CALIBRATION: Duration = Duration::from_millis(100);

/// Readings of which the mean cost is taken, in each of several runs.
const READINGS: usize = 10_000;
const RUNS: usize = 11;

/// The counter now.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux does not forbid it to programs.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds since the first call.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn ticks() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The counter's rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    nanos_per_tick: f64,
}

impl Clock {
    /// Measures the rate; takes a tenth of a second.
    pub(crate) fn calibrate() -> Self {
        let (start, first) = (Instant::now(), ticks());
        while start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (elapsed, last) = (start.elapsed(), ticks());
        let counted = last.saturating_sub(first).max(1);
        Self { nanos_per_tick: elapsed.as_nanos() as f64 / counted as f64 }
    }

    /// Ticks as nanoseconds.
    pub(crate) fn nanos(self, ticks: u64) -> f64 {
        ticks as f64 * self.nanos_per_tick
    }

    /// Nanoseconds as ticks, with their fraction.
    pub(crate) fn ticks_of(self, nanos: f64) -> f64 {
        nanos / self.nanos_per_tick
    }

    /// The cost of one reading, in nanoseconds: the mean of many, in the median run.
    pub(crate) fn overhead_ns(self) -> f64 {
        let mean = || {
            let first = ticks();
            let last = (0..READINGS).fold(first, |_, _| ticks());
            self.nanos(last.saturating_sub(first)) / READINGS as f64
        };
        median(&(0..RUNS).map(|_| mean()).collect::<Vec<_>>())
    }
}
