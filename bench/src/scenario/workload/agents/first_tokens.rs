//! Times to first token that a trace has, to draw from where it has none.

use std::time::Duration;

use crate::scenario::workload::random::Random;

/// The number of times that are kept. The public trace has 3,307.
const KEPT_MAX: usize = 4096;

/// An even sample of the times that were offered.
#[derive(Debug, Default)]
pub(super) struct FirstTokens {
    kept: Vec<Duration>,
    offered: u64,
}

impl FirstTokens {
    /// Takes a time, or does not: each that was offered is kept with the same chance (Vitter's algorithm R).
    pub(super) fn offer(&mut self, time: Duration, random: &mut Random) {
        self.offered += 1;
        if self.kept.len() < KEPT_MAX {
            self.kept.push(time);
        } else if let Some(kept) = self.kept.get_mut(random.below(self.offered) as usize) {
            *kept = time;
        }
    }

    /// One of them, if there are any.
    pub(super) fn draw(&self, random: &mut Random) -> Option<Duration> {
        match self.kept.len() as u64 {
            0 => None,
            kept => self.kept.get(random.below(kept) as usize).copied(),
        }
    }
}
