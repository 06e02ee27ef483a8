//! Seeded numbers for simulations and their tests.

use crate::format::SplitMix64;

/// A stream of numbers that its seed determines.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// True in `parts` of 10,000 cases. Draws nothing if `parts` is 0, so a fault that is off leaves the stream alone.
    pub fn chance(&mut self, parts: u32) -> bool {
        parts > 0 && self.below(10_000) < u64::from(parts)
    }

    /// Puts the items in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
