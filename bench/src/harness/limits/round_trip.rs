//! The distance of two cores: how long a cache line takes there and back.
//!
//! A virtual machine's cores may share a cache in one second and lie on two chiplets in the next, which changes what an
//! event costs by a factor of three. So the distance is measured beside whatever crosses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::harness::Outcome;
use crate::harness::cores::{Cores, pin};

/// There and back, this often: less than a millisecond.
const TRIPS: u64 = 1000;

/// Cores that share a cache answer sooner than this.
pub(crate) const NEAR_NS: f64 = 150.0;

/// Nanoseconds of a trip from the first producer's core to the first shard's and back; `None` where both are one.
pub(crate) fn round_trip_ns(cores: &Cores) -> Outcome<Option<f64>> {
    if cores.producer() == cores.shard() {
        return Ok(None);
    }
    let line = AtomicU64::new(0);
    let answer = || {
        // A thread that cannot be pinned answers all the same, or the other one would wait for ever.
        let pinned = pin(cores.shard());
        (0..TRIPS).for_each(|trip| pass(&line, 2 * trip + 1));
        pinned
    };
    let ask = || {
        let pinned = pin(cores.producer());
        pass(&line, 0);
        pass(&line, 2);
        let start = Instant::now();
        (2..TRIPS).for_each(|trip| pass(&line, 2 * trip));
        let nanos = start.elapsed().as_nanos() as f64;
        pinned.map(|()| nanos / (TRIPS - 2) as f64)
    };
    std::thread::scope(|scope| {
        let answering = scope.spawn(answer);
        let asked: Outcome<f64> = scope.spawn(ask).join().unwrap_or_else(|_| Err("a measuring thread panicked".into()));
        let answered: Outcome<()> = answering.join().unwrap_or_else(|_| Err("a measuring thread panicked".into()));
        answered.and(asked).map(Some)
    })
}

/// Waits for `number` and passes on the next one.
fn pass(line: &AtomicU64, number: u64) {
    while line.load(Ordering::Acquire) != number {
        std::hint::spin_loop();
    }
    line.store(number + 1, Ordering::Release);
}
