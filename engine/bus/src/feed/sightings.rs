//! Sightings: the places at which a shard has seen events of a follower's sessions, so that the follower passes over
//! the rest.
//!
//! 1. The shard surveys its log, stretch by stretch: it looks at each record as the watermark passes it. A stretch that
//!    it did not look at begins a new survey.
//! 2. A follower's sightings are those of the stretch in which its sessions were seen last: the first of them, the end
//!    of that stretch, and the end of the one before that had any. They are stored before the survey is extended, and
//!    only ever move forward.
//! 3. The follower loads the survey's end first, then its sightings in the opposite order: so they are at least as new
//!    as that end, and each is at least as new as the one that was loaded before it.
//! 4. Of what was surveyed before it came, a follower knows nothing.

use std::ops::Range;
use std::sync::Arc;

use tapeline_storage::format::Sequence;
use tapeline_storage::read::Visibility;

use super::sync::{AtomicU64, Ordering};

/// The part of a log that a shard has looked at without a hole.
#[derive(Debug)]
pub(crate) struct Survey {
    from: AtomicU64,
    to: AtomicU64,
}

impl Survey {
    pub(super) fn new() -> Self {
        Self { from: AtomicU64::new(0), to: AtomicU64::new(0) }
    }

    pub(crate) fn end(&self) -> Sequence {
        Sequence::new(self.to.load(Ordering::Relaxed))
    }

    /// The shard has looked at a stretch, and noted what it saw.
    pub(crate) fn extend(&self, stretch: &Range<Sequence>) {
        if self.end() != stretch.start {
            self.begin_at(stretch.start);
        }
        // SYNC: pairs with the Acquire load in Sightings::pass: what was seen in the stretch was noted before.
        self.to.store(stretch.end.get(), Ordering::Release);
    }

    /// The shard has not looked at what lies before.
    pub(crate) fn begin_at(&self, sequence: Sequence) {
        // SYNC: as in extend(): a follower that sees the end sees the beginning.
        self.from.store(sequence.get(), Ordering::Release);
        self.to.store(sequence.get(), Ordering::Release);
    }
}

/// The surveys of a shard, by the watermark that moves them.
#[derive(Debug, Clone)]
pub(crate) struct Surveys {
    appended: Arc<Survey>,
    durable: Arc<Survey>,
}

impl Default for Surveys {
    fn default() -> Self {
        Self { appended: Arc::new(Survey::new()), durable: Arc::new(Survey::new()) }
    }
}

impl Surveys {
    pub(crate) fn of(&self, visibility: Visibility) -> &Arc<Survey> {
        match visibility {
            Visibility::Appended => &self.appended,
            Visibility::Durable => &self.durable,
        }
    }
}

/// The places at which a shard has seen the sessions of one follower.
#[derive(Debug)]
pub(crate) struct Sightings {
    survey: Arc<Survey>,
    /// The end of the last stretch but one with events of its sessions.
    earlier_end: AtomicU64,
    /// The first of them in the last such stretch.
    first: AtomicU64,
    /// The end of that stretch.
    end: AtomicU64,
}

impl Sightings {
    pub(super) fn new(survey: &Arc<Survey>) -> Self {
        let (earlier_end, first, end) = (AtomicU64::new(u64::MAX), AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { survey: Arc::clone(survey), earlier_end, first, end }
    }

    /// The shard sees for the follower from now on.
    pub(super) fn begin(&self) {
        let now = self.survey.end().get();
        self.store(now, now, now);
    }

    /// The shard has seen an event of its sessions in this stretch. Only the first of a stretch counts. Returns whether
    /// it is that.
    pub(super) fn note(&self, first: Sequence, stretch: &Range<Sequence>) -> bool {
        let end = self.end.load(Ordering::Relaxed);
        let is_first = end != stretch.end.get();
        if is_first {
            self.store(end, first.get(), stretch.end.get());
        }
        is_first
    }

    fn store(&self, earlier_end: u64, first: u64, end: u64) {
        // SYNC: pair with the Acquire loads in pass(), which come in the opposite order.
        self.earlier_end.store(earlier_end, Ordering::Release);
        self.first.store(first, Ordering::Release);
        self.end.store(end, Ordering::Release);
    }

    /// The first sequence at `next` or later that may be of its sessions, as far as is known.
    pub(super) fn pass(&self, next: Sequence) -> Sequence {
        // SYNC: see rule 3.
        let surveyed = self.survey.to.load(Ordering::Acquire);
        let from = self.survey.from.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        let first = self.first.load(Ordering::Acquire);
        let earlier_end = self.earlier_end.load(Ordering::Acquire);
        let known = from.max(earlier_end)..surveyed;
        if !known.contains(&next.get()) {
            next
        } else if first >= next.get() {
            // There may be more before it that was not surveyed.
            Sequence::new(first.min(surveyed))
        } else if next.get() >= end {
            Sequence::new(surveyed)
        } else {
            next
        }
    }
}
