//! The memory of a bus: what lanes and blocks may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapeline_storage::device::MemoryGuard;

/// One part in so many of a budget is kept for lanes that begin.
const BEGINNERS_PART: usize = 32;

/// A number of bytes, of which shares are taken.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    bytes: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, used: AtomicUsize::new(0) })
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are taken.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.saturating_sub(self.used())
    }

    /// Takes a share.
    ///
    /// # Errors
    /// The bytes that are left, where they are fewer.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<MemoryShare, usize> {
        self.take_up_to(bytes, self.bytes)
    }

    /// Takes a share for a lane that grows: half of what is left at most, and nothing of the last [`BEGINNERS_PART`] of
    /// the whole, so that new lanes find room however others have grown.
    ///
    /// # Errors
    /// The bytes that are left, where that is not enough.
    pub(crate) fn take_to_grow(self: &Arc<Self>, bytes: usize) -> Result<MemoryShare, usize> {
        let limit = self.bytes - (self.bytes / BEGINNERS_PART).max(bytes).min(self.bytes);
        if self.used().checked_add(bytes).is_some_and(|used| used <= limit) {
            self.take_up_to(bytes, limit)
        } else {
            Err(self.left())
        }
    }

    /// Takes a share for a large event: nothing of the last [`BEGINNERS_PART`] of the whole, so that new lanes find it
    /// meanwhile.
    ///
    /// # Errors
    /// The bytes that are left, where they are fewer.
    pub(crate) fn take_for_event(self: &Arc<Self>, bytes: usize) -> Result<MemoryShare, usize> {
        let kept = self.bytes / BEGINNERS_PART;
        self.take_up_to(bytes, self.bytes - kept).map_err(|left| left.saturating_sub(kept))
    }

    fn take_up_to(self: &Arc<Self>, bytes: usize, limit: usize) -> Result<MemoryShare, usize> {
        let take = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(MemoryShare { budget: Some(Arc::clone(self)), bytes }),
            Err(used) => Err(self.bytes.saturating_sub(used)),
        }
    }
}

/// Bytes of a budget, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct MemoryShare {
    budget: Option<Arc<MemoryBudget>>,
    bytes: usize,
}

impl MemoryGuard for MemoryShare {}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
