//! Events that were taken over and let go again, and why.

use std::ops::AddAssign;

/// Why an event was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its lane was full, and it was the newest.
    Newest,
    /// Its lane was full, and it was the oldest.
    Oldest,
    /// Its lane was filling up, and others were kept for it.
    Sampled,
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Newest => "drop-newest",
            Self::Oldest => "drop-oldest",
            Self::Sampled => "sampled",
        })
    }
}

/// Events that were let go, by reason. Every one is told to readers as a [`Gap`](crate::Gap).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drops {
    /// [`DropReason::Newest`].
    pub newest: u64,
    /// [`DropReason::Oldest`].
    pub oldest: u64,
    /// [`DropReason::Sampled`].
    pub sampled: u64,
}

impl Drops {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.newest + self.oldest + self.sampled
    }

    /// Each reason that has any.
    pub(crate) fn reasons(self) -> impl Iterator<Item = (DropReason, u64)> {
        let all =
            [(DropReason::Newest, self.newest), (DropReason::Oldest, self.oldest), (DropReason::Sampled, self.sampled)];
        all.into_iter().filter(|(_, events)| *events > 0)
    }

    /// What was let go since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            newest: self.newest.saturating_sub(earlier.newest),
            oldest: self.oldest.saturating_sub(earlier.oldest),
            sampled: self.sampled.saturating_sub(earlier.sampled),
        }
    }
}

impl AddAssign for Drops {
    fn add_assign(&mut self, other: Self) {
        self.newest += other.newest;
        self.oldest += other.oldest;
        self.sampled += other.sampled;
    }
}
