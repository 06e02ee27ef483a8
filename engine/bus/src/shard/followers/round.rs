//! Rounds: followers that wait for their session are woken now and then, one after the other.
//!
//! A follower of a session that gets nothing stays where it is while the log goes on. So that the part of the log that
//! it has yet to pass stays short, and is not trimmed before, each is woken within [`ROUND_NS`] of an event, or within
//! [`ROUND_RECORDS`] events. A few at a time: to wake thousands at once would keep the shard from its events.

/// The time in which all are woken once, in nanoseconds.
const ROUND_NS: u64 = 1_000_000_000;

/// The events within which all are woken once.
const ROUND_RECORDS: u64 = 16_384;

/// The state of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The next one to wake.
    next: usize,
    /// Those that were not woken since the log moved.
    left: usize,
    /// The time of the round that was not used, in nanoseconds. A record counts as its part of [`ROUND_NS`].
    unused_ns: u64,
    /// The time when `unused_ns` was counted.
    counted_at: u64,
}

impl Round {
    /// The log of `followers` has got so many records.
    pub(super) fn extend(&mut self, followers: usize, records: u64) {
        self.left = followers;
        self.unused_ns = self.unused_ns.saturating_add(records.saturating_mul(ROUND_NS / ROUND_RECORDS)).min(ROUND_NS);
    }

    /// Those of `followers` that are due at `now`.
    pub(super) fn due(&mut self, followers: usize, now: u64) -> impl Iterator<Item = usize> + use<> {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.counted_at, now));
        self.unused_ns = if self.left == 0 { 0 } else { self.unused_ns.saturating_add(elapsed).min(ROUND_NS) };
        let per_follower = ROUND_NS / followers.max(1) as u64;
        let due = usize::try_from(self.unused_ns / per_follower.max(1)).unwrap_or(usize::MAX).min(self.left);
        self.unused_ns -= (due as u64 * per_follower).min(self.unused_ns);
        self.left -= due;
        let first = self.next;
        self.next = (first + due) % followers.max(1);
        (first..first + due).map(move |at| at % followers.max(1))
    }
}
