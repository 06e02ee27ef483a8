//! The state that the consumers of one bus share.

use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tapeline_reader::named::CursorStore;
use tapeline_reader::trim::NameStore;

use super::horizon::Horizon;
use crate::feed::Bell;

/// Shared by the consumers of a bus.
#[derive(Debug)]
pub(crate) struct Readers {
    /// The bound of reading in order of time.
    pub(crate) horizon: Horizon,
    /// Cursors with a name.
    pub(crate) cursors: CursorStore,
    /// Names of sessions whose opening is trimmed.
    pub(crate) names: NameStore,
    /// Those of followers that have to know when a shard comes.
    bells: Mutex<Vec<Weak<Bell>>>,
}

impl Readers {
    /// Those of a log at `path`, or in memory.
    pub(crate) fn new(path: Option<&Path>) -> Self {
        Self {
            horizon: Horizon::default(),
            cursors: CursorStore::new(path).cleared(),
            names: NameStore::new(path),
            bells: Mutex::default(),
        }
    }

    /// Has a follower woken when a shard comes. It looks for shards before it sleeps.
    pub(crate) fn watch(&self, bell: &Arc<Bell>) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }

    /// Wakes the followers that have to know of a shard that has come.
    pub(super) fn report_shard(&self) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        // SYNC: pairs with the fence in Bell::arm.
        fence(Ordering::SeqCst);
        bells.iter().filter_map(Weak::upgrade).for_each(|bell| {
            let _ = bell.ring();
        });
    }
}
