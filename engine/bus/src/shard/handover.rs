//! The change of the route, as a shard and the thread that changes it speak of it.
//!
//! First the route itself is changed, and a fence executed by every thread; then each shard is told (`begin`). A shard
//! takes what goes by the old route out of its lanes, and nothing of the new one: so there is a sequence between the
//! two (`settle`). When every shard has one, and what is before it is acknowledged, the era that begins there is made
//! known to readers, and all go on (`pass`).

use std::sync::atomic::{AtomicU64, Ordering};

use tapeline_storage::format::Sequence;

/// How far a change of the route has come in one shard: numbers of routes.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    begun: AtomicU64,
    settled: AtomicU64,
    /// First sequence of the new route. Written before `settled`.
    settled_at: AtomicU64,
    passed: AtomicU64,
}

impl Handover {
    /// Asks for the place between what goes by earlier routes and what goes by this one.
    pub(crate) fn begin(&self, route: u64) {
        // SYNC: pairs with the Acquire load in wanted(); the fence after the change of the route came before.
        self.begun.store(route, Ordering::Release);
    }

    /// The place, once the shard has found it.
    pub(crate) fn settled_at(&self, route: u64) -> Option<Sequence> {
        // SYNC: pairs with the Release store in settle().
        let is_settled = self.settled.load(Ordering::Acquire) == route;
        is_settled.then(|| Sequence::new(self.settled_at.load(Ordering::Relaxed)))
    }

    /// Lets the shard go on with what goes by this route.
    pub(crate) fn pass(&self, route: u64) {
        // SYNC: pairs with the Acquire load in passed(): readers know of the era.
        self.passed.store(route, Ordering::Release);
    }

    /// The number of the route whose beginning is asked for and not found yet.
    pub(super) fn wanted(&self) -> Option<u64> {
        // SYNC: pairs with the Release store in begin().
        let begun = self.begun.load(Ordering::Acquire);
        (self.settled.load(Ordering::Relaxed) != begun && self.passed.load(Ordering::Relaxed) != begun).then_some(begun)
    }

    /// Whether a change has begun and not ended: what is appended is waited for.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.passed.load(Ordering::Relaxed)
    }

    /// The shard's answer.
    pub(super) fn settle(&self, number: u64, at: Sequence) {
        self.settled_at.store(at.get(), Ordering::Relaxed);
        // SYNC: pairs with the Acquire load in settled_at().
        self.settled.store(number, Ordering::Release);
    }

    /// The number of the last route whose events may be taken.
    pub(super) fn passed(&self) -> u64 {
        // SYNC: pairs with the Release store in pass().
        self.passed.load(Ordering::Acquire)
    }
}
