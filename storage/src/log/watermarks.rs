//! The watermarks of a log: exclusive upper sequences that rise, of which none passes the next.
//!
//! The shard's thread raises `appended` and `durable`. Readers raise `trimmed`, too: they find that another process has
//! trimmed the log.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::Sequence;

/// The progress of a log: exclusive upper sequences, of which none passes the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermarks {
    /// Gone up to here.
    pub trimmed: Sequence,
    /// Acknowledged at the log's level up to here.
    pub durable: Sequence,
    /// Readable up to here.
    pub appended: Sequence,
}

/// The watermarks as the log's thread and its readers share them.
#[derive(Debug)]
pub(super) struct SharedWatermarks {
    appended: AtomicU64,
    durable: AtomicU64,
    trimmed: AtomicU64,
}

impl SharedWatermarks {
    /// Of a log that is durable up to `next`.
    pub(super) fn new(trimmed: Sequence, next: Sequence) -> Self {
        Self {
            appended: AtomicU64::new(next.get()),
            durable: AtomicU64::new(next.get()),
            trimmed: AtomicU64::new(trimmed.get()),
        }
    }

    #[inline]
    pub(super) fn appended(&self) -> Sequence {
        // SYNC: pairs with the Release store in set_appended: the tail lists what it covers.
        Sequence::new(self.appended.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn durable(&self) -> Sequence {
        // SYNC: pairs with the Release store in set_durable.
        Sequence::new(self.durable.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn trimmed(&self) -> Sequence {
        // SYNC: pairs with the Release store in raise_trimmed.
        Sequence::new(self.trimmed.load(Ordering::Acquire))
    }

    /// All of them at one moment.
    pub(super) fn all(&self) -> Watermarks {
        // Each rises, and the later one is raised first: looked at in this order, none is seen to pass the next.
        let (trimmed, durable) = (self.trimmed(), self.durable());
        Watermarks { trimmed, durable, appended: self.appended() }
    }

    pub(super) fn set_appended(&self, appended: Sequence) {
        assert!(appended.get() >= self.durable.load(Ordering::Relaxed), "what is durable is readable");
        // SYNC: pairs with the Acquire load in appended().
        self.appended.store(appended.get(), Ordering::Release);
    }

    pub(super) fn set_durable(&self, durable: Sequence) {
        assert!(durable.get() <= self.appended.load(Ordering::Relaxed), "what is durable is readable");
        assert!(durable.get() >= self.durable.load(Ordering::Relaxed), "what is durable stays so");
        // SYNC: pairs with the Acquire load in durable().
        self.durable.store(durable.get(), Ordering::Release);
    }

    pub(super) fn raise_trimmed(&self, trimmed: Sequence) {
        assert!(trimmed.get() <= self.durable.load(Ordering::Relaxed), "what is trimmed was durable");
        // SYNC: pairs with the Acquire load in trimmed(). The maximum: readers find out of trimming on their own.
        self.trimmed.fetch_max(trimmed.get(), Ordering::Release);
    }
}
