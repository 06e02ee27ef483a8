//! The state that the consumers of one bus share.

use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tapeline_reader::named::CursorStore;
use tapeline_reader::trim::NameStore;
use tapeline_storage::log::Loader;

use super::horizon::Horizon;
use super::loading::LoadThreads;
use super::names::SessionNames;
use crate::core::budget::MemoryBudget;
use crate::feed::Bell;

/// Shared by the consumers of a bus.
#[derive(Debug)]
pub(crate) struct Readers {
    /// The bound of reading in order of time.
    pub(crate) horizon: Horizon,
    /// Cursors with a name.
    pub(crate) cursors: CursorStore,
    /// Names of sessions.
    pub(crate) names: Arc<SessionNames>,
    /// Those of followers that have to know when a shard comes.
    bells: Mutex<Vec<Weak<Bell>>>,
    /// Of a bus with threads.
    load_threads: OnceLock<Arc<LoadThreads>>,
}

impl Readers {
    /// Those of a log at `path`, or in memory.
    pub(crate) fn new(path: Option<&Path>, memory: &Arc<MemoryBudget>) -> Self {
        Self {
            horizon: Horizon::default(),
            cursors: CursorStore::new(path).cleared(),
            names: Arc::new(SessionNames::new(NameStore::new(path), memory)),
            bells: Mutex::default(),
            load_threads: OnceLock::new(),
        }
    }

    /// Has files read on these threads from now on, for readers that must not block theirs. Before any reads.
    pub(crate) fn load_on(&self, threads: Arc<LoadThreads>) {
        let _ = self.load_threads.set(threads);
    }

    /// The threads that read files, if the bus has such.
    pub(crate) fn load_threads(&self) -> Option<&Arc<LoadThreads>> {
        self.load_threads.get()
    }

    /// Reads files elsewhere, where there are threads for that.
    pub(super) fn loader(&self) -> Option<Arc<dyn Loader>> {
        self.load_threads.get().map(LoadThreads::loader)
    }

    /// Has a follower woken when a shard comes. It looks for shards before it sleeps.
    pub(crate) fn watch(&self, bell: &Arc<Bell>) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if bells.len() == bells.capacity() {
            bells.retain(|bell| bell.strong_count() > 0);
            // The next look at all of them comes when there are twice as many.
            let present = bells.len();
            bells.reserve(present.max(1));
        }
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
