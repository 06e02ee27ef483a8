//! The reach of the reader of a lane: until it is there, it need not look at the writer again.

use super::entry_position::EntryPosition;
use super::handle::Numbers;
use super::sync::Ordering;

/// The limits of the reader. Where the writer has published more since, they lag.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Entry index up to which the writer is known to have published.
    known: u64,
    /// The same, or the end of the ring or of the group that comes first.
    limit: u64,
    /// The route of the records so far. Records of a later route wait.
    route: u64,
}

impl Reach {
    /// The route of a reader that takes everything there is.
    pub(super) const ANY_ROUTE: u64 = u64::MAX;

    /// Entry index up to which the writer is known to have published.
    #[inline]
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// Entry index up to which records may be shown.
    #[inline]
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Goes on with records of this route.
    pub(super) fn pass_to(&mut self, route: u64) {
        self.route = route;
    }

    /// Learns how far the writer has published, for a reader at `next`.
    #[inline]
    pub(super) fn learn(&mut self, numbers: &Numbers, next: EntryPosition) {
        self.known = self.bound(numbers).max(next.index);
    }

    /// Limits the reader to what is before this entry index.
    #[inline]
    pub(super) fn limit_to(&mut self, end: u64) {
        self.limit = self.known.min(end);
    }

    /// Has the reader, which is at `next`, look before it reads on: at the ring, at the next group, and at the writer
    /// where nothing more is known.
    #[inline]
    pub(super) fn stop_at(&mut self, next: EntryPosition) {
        (self.known, self.limit) = (self.known.max(next.index), next.index);
    }

    /// Entry index up to which the records are of this reader's route.
    #[inline]
    fn bound(&self, numbers: &Numbers) -> u64 {
        let published = numbers.published();
        // SYNC: pairs with LaneWriter::set_route: the route of records below `published` is seen.
        let route = numbers.ends.route.load(Ordering::Acquire);
        if route == self.route || self.route == Self::ANY_ROUTE {
            published
        } else {
            numbers.ends.route_entry.load(Ordering::Relaxed)
        }
    }
}
