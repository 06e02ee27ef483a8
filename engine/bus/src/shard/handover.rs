//! The route of a shard, and the change of it: what the shard's thread and the thread that changes the route
//! say to each other.
//!
//! First that thread stores the new route, and every thread executes a fence; then it asks each shard for its boundary
//! (`begin`). A shard takes the records of the old route out of its lanes, and none of the new one: so there is a
//! sequence at which the new route begins, the boundary, which the shard reports (`report_boundary`). When every shard
//! has reported one, and what is before it is acknowledged, readers learn of the era that begins there, and all shards
//! go on (`pass`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tapeline_storage::format::Sequence;

/// The progress of a change of the route in one shard: numbers of routes.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    begun: AtomicU64,
    /// The route whose boundary the shard has reported.
    reported: AtomicU64,
    /// The first sequence of that route. Written before `reported`.
    boundary: AtomicU64,
    passed: AtomicU64,
    /// The route leads no new events to the shard.
    is_retired: AtomicBool,
}

impl Handover {
    /// Gives the shard this route before it runs.
    pub(crate) fn enter(&self, route: u64) {
        self.begin(route);
        self.pass(route);
    }

    /// Returns whether new events come to the shard.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_retired.load(Ordering::Relaxed)
    }

    /// Notes that new events come to the shards below `active`; this is the shard of number `shard`.
    pub(crate) fn note_active(&self, shard: u16, active: u16) {
        self.is_retired.store(shard >= active, Ordering::Relaxed);
    }

    /// Asks for the boundary between the records of earlier routes and those of this one.
    pub(crate) fn begin(&self, route: u64) {
        // SYNC: pairs with the Acquire load in wanted(); the fence after the change of the route came before.
        self.begun.store(route, Ordering::Release);
    }

    /// The first sequence of this route, once the shard has reported it.
    pub(crate) fn boundary(&self, route: u64) -> Option<Sequence> {
        // SYNC: pairs with the Release store in report_boundary().
        let is_reported = self.reported.load(Ordering::Acquire) == route;
        is_reported.then(|| Sequence::new(self.boundary.load(Ordering::Relaxed)))
    }

    /// Has the shard go on with the records of this route.
    pub(crate) fn pass(&self, route: u64) {
        // SYNC: pairs with the Acquire load in passed(): readers know of the era.
        self.passed.store(route, Ordering::Release);
    }

    /// The number of the route whose boundary is asked for and not reported yet.
    pub(super) fn wanted(&self) -> Option<u64> {
        // SYNC: pairs with the Release store in begin().
        let begun = self.begun.load(Ordering::Acquire);
        let is_answered =
            self.reported.load(Ordering::Relaxed) == begun || self.passed.load(Ordering::Relaxed) == begun;
        (!is_answered).then_some(begun)
    }

    /// Returns whether a change has begun and not ended: then the shard commits at once.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.passed.load(Ordering::Relaxed)
    }

    /// The shard's answer: the first sequence of the route of this number.
    pub(super) fn report_boundary(&self, number: u64, at: Sequence) {
        self.boundary.store(at.get(), Ordering::Relaxed);
        // SYNC: pairs with the Acquire load in boundary().
        self.reported.store(number, Ordering::Release);
    }

    /// The number of the last route whose events may be taken.
    pub(super) fn passed(&self) -> u64 {
        // SYNC: pairs with the Release store in pass().
        self.passed.load(Ordering::Acquire)
    }
}
