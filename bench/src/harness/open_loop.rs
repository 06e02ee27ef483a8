//! An open loop: calls are due at fixed times, whatever the calls before them took.
//!
//! Two latencies are kept for each call. The plain one is how long the call took. The corrected one counts from the
//! moment the call was due, so that a stall also shows in the calls that waited for it. Both are kept as they are and
//! counted at the end: to count them between calls would measure caches that the counting had cleared.

use std::time::Duration;

use super::Outcome;
use super::clock::{Clock, ticks};
use super::latencies::{Latencies, Percentiles};

/// The time for which the loop runs before calls count: pages are touched, caches and branches warm.
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);

/// The measurements of an open loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Of the calls.
    pub(crate) plain: Percentiles,
    /// From the moment they were due.
    pub(crate) corrected: Percentiles,
    /// Calls a second that were made.
    pub(crate) rate: f64,
}

impl Sample {
    /// The median of each number over several rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let over = |part: fn(&Self) -> Percentiles| Percentiles::median(&rounds.iter().map(part).collect::<Vec<_>>());
        Self {
            plain: over(|sample| sample.plain),
            corrected: over(|sample| sample.corrected),
            rate: super::stats::median_of(rounds, |sample| sample.rate),
        }
    }
}

/// Makes `rate` calls a second for `seconds`, spinning between them. `call` gets the number of the call.
pub(crate) fn run(clock: Clock, rate: f64, seconds: f64, call: impl FnMut(u64) -> Outcome<()>) -> Outcome<Sample> {
    run_between(clock, rate, seconds, call, std::hint::spin_loop)
}

/// As [`run`], with something to do between the calls, over and over.
pub(crate) fn run_between(
    clock: Clock,
    rate: f64,
    seconds: f64,
    mut call: impl FnMut(u64) -> Outcome<()>,
    mut between: impl FnMut(),
) -> Outcome<Sample> {
    let interval = clock.ticks_of(1e9 / rate);
    let warm_up = (WARM_UP.as_secs_f64() * rate) as u64;
    let calls = warm_up + ((seconds * rate) as u64).max(1);
    // Touched before it counts: 8 bytes a call.
    let mut taken = vec![Taken { plain: 1, corrected: 1 }; calls as usize];
    let start = ticks();
    let mut counted_from = start;
    for (number, taken) in (0..).zip(&mut taken) {
        if number == warm_up {
            counted_from = ticks();
        }
        let due = start + (number as f64 * interval) as u64;
        let mut before = ticks();
        while before < due {
            between();
            before = ticks();
        }
        call(number)?;
        let after = ticks();
        *taken = Taken { plain: span(before, after), corrected: span(due, after) };
    }
    let elapsed = clock.nanos(ticks().saturating_sub(counted_from)) / 1e9;
    let (mut plain, mut corrected) = (Latencies::new()?, Latencies::new()?);
    for taken in taken.iter().skip(warm_up as usize) {
        plain.record(u64::from(taken.plain));
        corrected.record(u64::from(taken.corrected));
    }
    Ok(Sample {
        plain: plain.percentiles(clock),
        corrected: corrected.percentiles(clock),
        rate: (calls - warm_up) as f64 / elapsed,
    })
}

/// The times of one call, in ticks.
#[derive(Debug, Clone, Copy)]
struct Taken {
    plain: u32,
    corrected: u32,
}

/// Ticks from one moment to another; what is longer than a second or two counts as that.
fn span(from: u64, to: u64) -> u32 {
    u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX)
}
