//! Attempts that fail in a row with errors that pass.

/// The times of the first and the last failure, in nanoseconds of the log's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    first: u64,
    last: u64,
}

impl Outage {
    /// Adds a failure to the outage before it, if there is one.
    pub(super) fn add(before: Option<Self>, now: u64) -> Self {
        Self { first: before.map_or(now, |outage| outage.first), last: now }
    }

    pub(super) fn last(self) -> u64 {
        self.last
    }

    /// Returns how long it is known to have lasted. Since the last failure the cause may have passed.
    pub(super) fn known_length(self) -> u64 {
        self.last.saturating_sub(self.first)
    }

    /// Returns the time since its first failure.
    pub(super) fn age(self, now: u64) -> u64 {
        now.saturating_sub(self.first)
    }
}
