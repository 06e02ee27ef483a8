//! The mark: what a producer says before it reads the clock and the route, so that others know what is still to come.
//!
//! A reader that pages in order of time wants to know that no earlier event can turn up; a shard that hands a session
//! over wants to know that no more events of the old route come. Both look at marks. The rules:
//!
//! 1. The writer marks an event before it reads the clock that times it, and before it reads the route. A batch has the
//!    mark of its first event; before it is published, it is marked as publishing and only then reads the route.
//! 2. The writer clears the mark once it has published, or has taken back what it began.
//! 3. A thread that needs the marks reads the clock, or stores the new route; has every thread execute a fence; and
//!    then reads the mark, and `published` after it. It finds the mark of an event, or what it did first came before
//!    that event read the clock and the route, or the event is published.
//!
//! Time and state are in one word, because a store costs an event more than the arithmetic: the time is a lower bound
//! and may be a nanosecond too early, so its lowest bit is free to say that the event is being published. For example,
//! of an event that is no earlier than 1,000,000 ns:
//!
//! ```text
//! published at once     999,999    odd: the shard waits for it before it leaves the old route
//! published later     1,000,000    even: a batch reads the route when it is published
//! nothing begun        u64::MAX
//! ```

/// The record or batch that a writer has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

/// The moment at which the record that is begun is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    /// At once, with all that was written before.
    Now,
    /// Later, with others.
    Later,
}

/// The lowest bit: the event is being published.
const PUBLISHES: u64 = 1;

impl Mark {
    /// Nothing is begun.
    pub(super) const NONE: Self = Self(u64::MAX);

    /// Of an event that is no earlier than `since`, which is a time and not 0.
    #[inline(always)]
    pub(super) fn new(since: u64, publish: Publish) -> Self {
        match publish {
            Publish::Now => Self(since.wrapping_sub(1) | PUBLISHES),
            Publish::Later => Self(since & !PUBLISHES),
        }
    }

    /// The word that both ends share.
    #[inline(always)]
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// The mark of a shared word.
    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The same, being published.
    pub(super) fn publishing(self) -> Self {
        Self::new(self.0, Publish::Now)
    }

    /// Returns whether the record that was begun may be published at this moment.
    pub(super) fn is_publishing(self) -> bool {
        self != Self::NONE && self.0 & PUBLISHES != 0
    }

    /// No unpublished record is earlier than this; `u64::MAX` where there is none.
    pub(super) fn since(self) -> u64 {
        if self == Self::NONE { u64::MAX } else { self.0 & !PUBLISHES }
    }
}

#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod tests {
    use super::*;

    #[test]
    fn mark_holds_a_time_and_whether_it_is_being_published() {
        let event = Mark::new(1_000_000, Publish::Now);
        assert_eq!(event.word(), 999_999, "the example of this module's documentation");
        assert_eq!((event.since(), event.is_publishing()), (999_998, true));
        let batch = Mark::new(1_000_000, Publish::Later);
        assert_eq!((batch.word(), batch.since(), batch.is_publishing()), (1_000_000, 1_000_000, false));
        assert_eq!(batch.publishing(), event);
        assert_eq!((Mark::NONE.since(), Mark::NONE.is_publishing()), (u64::MAX, false));
        assert!(Mark::new(1_000_001, Publish::Now).since() <= 1_000_001);
    }
}
