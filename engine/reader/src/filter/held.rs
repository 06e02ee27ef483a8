//! The set of a payload's tests that hold.

use super::limits::NODES_MAX;

const WORDS: usize = NODES_MAX.div_ceil(64);

/// The tests that hold, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Held([u64; WORDS]);

impl Held {
    #[inline]
    pub(super) fn has(&self, test: usize) -> bool {
        self.0[test / 64] >> (test % 64) & 1 == 1
    }

    #[inline]
    pub(super) fn insert(&mut self, test: usize) {
        self.0[test / 64] |= 1 << (test % 64);
    }

    #[inline]
    pub(super) fn remove(&mut self, tests: &Held) {
        for (word, tests) in self.0.iter_mut().zip(&tests.0) {
            *word &= !tests;
        }
    }
}
