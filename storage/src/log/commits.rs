//! The pace of a log's commits, for statistics.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of blocks that were acknowledged, the time that they took, and the age of the oldest that is not.
#[derive(Debug, Default)]
pub(super) struct Commits {
    count: AtomicU64,
    total_ns: AtomicU64,
    /// The time at which the oldest block was begun that is not durable; 0 without any.
    pending_since: AtomicU64,
}

impl Commits {
    /// The number of blocks, and the nanoseconds that they took from their first event on, all together.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.count.load(Ordering::Relaxed), self.total_ns.load(Ordering::Relaxed))
    }

    /// Counts a block that took so long.
    pub(super) fn add(&self, nanos: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn pending_since(&self) -> Option<u64> {
        Some(self.pending_since.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    pub(super) fn set_pending_since(&self, since: Option<u64>) {
        self.pending_since.store(since.unwrap_or(0), Ordering::Relaxed);
    }
}
