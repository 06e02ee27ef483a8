//! The part of its time that a daemon works.

use std::time::{Duration, Instant};

/// The time over which it is measured, at least.
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Saturation {
    begin: Instant,
    /// Time at rest since the beginning.
    rested: Duration,
    resting_since: Option<Instant>,
    last: f32,
}

impl Saturation {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), rested: Duration::ZERO, resting_since: None, last: 0.0 }
    }

    /// There is nothing to do.
    pub(super) fn rest(&mut self) {
        self.resting_since.get_or_insert_with(Instant::now);
    }

    /// There is something to do.
    pub(super) fn work(&mut self) {
        if let Some(since) = self.resting_since.take() {
            self.rested += since.elapsed();
        }
    }

    /// The measure of the last window that is over.
    pub(super) fn measure(&mut self) -> f32 {
        let window = self.begin.elapsed();
        if window >= WINDOW {
            let rested = self.rested.as_secs_f32() / window.as_secs_f32();
            self.last = (1.0 - rested).clamp(0.0, 1.0);
            (self.begin, self.rested) = (Instant::now(), Duration::ZERO);
        }
        self.last
    }

    /// The time at which it is measured anew although nothing happens: until it is almost 0.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.last > 0.001).then(|| self.begin + WINDOW)
    }
}
