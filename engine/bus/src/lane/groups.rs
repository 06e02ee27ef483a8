//! Groups: records of a lane that its reader takes all at once or not at all.
//!
//! The writer lists a group before it publishes the group's records, and counts it; the reader, which loads that number
//! after the end of what is published, knows of a group before it knows of the group's records. All of them lie in the
//! writer's last ring, as whatever is not published does.

use std::collections::VecDeque;
use std::ops::Range;
// Not loom's: nothing of a model happens under it.
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its entries.
    pub(super) entries: Range<u64>,
    /// Time of its last record: the latest in it.
    pub(super) time: u64,
}

/// The groups that are published and not taken, in order.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<VecDeque<Group>>);

impl Groups {
    pub(super) fn push(&self, group: Group) {
        self.lock().push_back(group);
    }

    pub(super) fn first(&self) -> Option<Group> {
        self.lock().front().cloned()
    }

    pub(super) fn pop(&self) {
        let _ = self.lock().pop_front();
    }

    /// Locks; what is locked is whole after every statement. No atomic of the lane is touched under it.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The groups of a lane as its reader knows them.
#[derive(Debug, Default)]
pub(super) struct GroupReader {
    /// The next group, once it is known. Apart, because most lanes never have one.
    next: Option<Box<Group>>,
    /// Groups taken.
    taken: u64,
}

impl GroupReader {
    /// Learns of the next group, where the writer has published so many and not all are taken.
    #[inline]
    pub(super) fn learn(&mut self, published: u64, groups: &Groups) {
        if published != self.taken {
            self.next = groups.first().map(Box::new);
        }
    }

    /// Entry index up to which a reader at this index may show records: those before a group, or those of one.
    #[inline]
    pub(super) fn limit(&self, index: u64) -> u64 {
        match &self.next {
            None => u64::MAX,
            Some(group) if index < group.entries.start => group.entries.start,
            Some(group) => group.entries.end,
        }
    }

    /// The group that begins at this index, if it is known.
    #[inline]
    pub(super) fn beginning_at(&self, index: u64) -> Option<&Group> {
        self.next.as_deref().filter(|group| group.entries.start == index)
    }

    /// Moves past the next group.
    pub(super) fn pass(&mut self, groups: &Groups) {
        groups.pop();
        self.taken += 1;
        self.next = groups.first().map(Box::new);
    }
}
