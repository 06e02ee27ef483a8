//! The beginning of an evicting lane, which both ends move: the reader past what it has copied, the writer past what it
//! gives up.
//!
//! The end that holds it moves it; neither waits for the other. The reader holds it while it copies, at most a turn's
//! worth of one lane, and leaves the lane for the next turn if the writer has it. The writer, if the reader has it,
//! goes on in its reserve.

use super::sync::{AtomicBool, Ordering};

/// Says which end moves the beginning, if any.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Hold(AtomicBool);

impl Hold {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Takes it, unless the other end has it.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        // SYNC: pairs with the Release store in give_back: what the other end did while it held is seen.
        self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives it back.
    #[inline]
    pub(super) fn give_back(&self) {
        // SYNC: pairs with the Acquire in try_take.
        self.0.store(false, Ordering::Release);
    }
}
