//! The way of an event: from the id of its session to a shard.
//!
//! The function is pure and fixed for ever: one shard holds the whole of a session only as long as every process sends
//! it there.
//!
//! The [`Route`] is the number of shards that take events. It changes while producers work: a producer looks at it
//! after it has noted that it is about to publish, so that the thread that changes it knows which producers may still
//! use the old one.

use std::sync::atomic::{AtomicU64, Ordering};

use tapeline_storage::format::SessionId;

use crate::shard::ShardControl;

/// A number of shards that take events, and how many changes led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route(u64);

impl Route {
    /// The first route of a bus.
    pub(crate) fn first(active: u16) -> Self {
        Self(1 << 16 | u64::from(active))
    }

    /// Returns whether the bus has had no other.
    pub(crate) fn is_first(self) -> bool {
        self.number() == 1
    }

    /// The route after this one.
    pub(crate) fn next(self, active: u16) -> Self {
        Self((self.number() + 1) << 16 | u64::from(active))
    }

    /// Shards 0 to `active - 1` take events.
    pub(crate) fn active(self) -> u16 {
        self.0 as u16
    }

    /// Rises with each change.
    pub(crate) fn number(self) -> u64 {
        self.0 >> 16
    }

    /// Gives this route to a shard that begins.
    pub(crate) fn enter(self, shard: &ShardControl) {
        shard.handover().note_active(shard.id(), self.active());
        shard.handover().enter(self.number());
    }

    /// The shard of a session; of a producer's events without one.
    pub(crate) fn shard_of(self, session: SessionId, producer: u64) -> u16 {
        match session {
            SessionId::NONE => (producer % u64::from(self.active().max(1))) as u16,
            session => shard_of(session, self.active()),
        }
    }
}

/// The route in force. On a line of its own, which every producer has in its cache.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct RouteInForce(AtomicU64);

impl RouteInForce {
    pub(crate) fn new(route: Route) -> Self {
        Self(AtomicU64::new(route.0))
    }

    /// One load, most often of a line that is in the cache.
    #[inline(always)]
    pub(crate) fn get(&self) -> Route {
        Route(self.0.load(Ordering::Relaxed))
    }

    /// Gives producers another route from now on. The caller executes the fence after which they all use it.
    pub(crate) fn set(&self, route: Route) {
        self.0.store(route.0, Ordering::Release);
    }
}

/// The shard, below `shards`, that holds the session; 0 when there are no shards. When `shards` grows by one, one
/// session in `shards + 1` moves, and always to the new shard.
///
/// Jump consistent hash: J. Lamping and E. Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014). About
/// `ln(shards) + 1` divisions, 16 ns for 2 shards and 28 ns for 8: a producer keeps the answer for the session it
/// writes to.
#[inline]
pub(crate) fn shard_of(session: SessionId, shards: u16) -> u16 {
    jump(fold(session), shards)
}

/// 64 bits that depend on every bit of the id. Ids are given by users, too: small numbers and UUIDs with fixed bits
/// must spread, and halves that are equal must not cancel. The finalizer is that of MurmurHash3 (A. Appleby).
#[inline]
fn fold(session: SessionId) -> u64 {
    let high = (session.0 >> 64) as u64;
    let mut key = (session.0 as u64) ^ high.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key = (key ^ (key >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

#[inline]
fn jump(mut key: u64, buckets: u16) -> u16 {
    let (mut bucket, mut next) = (0, 0);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // Exact integers and one rounding of IEEE 754 each: the same answer on every machine.
        next = ((bucket + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    // Below `buckets`.
    bucket as u16
}

#[cfg(test)]
mod tests;
