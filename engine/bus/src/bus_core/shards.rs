//! The shards of a bus: those that run, and those of earlier configurations, which stay readable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tapeline_storage::format::Sequence;
use tapeline_storage::log::LogView;

use crate::shard::ShardControl;

/// The shards of one bus.
#[derive(Debug)]
pub(crate) struct Shards {
    /// All that were started, by number. Replaced as a whole when one comes.
    started: RwLock<Arc<[Arc<ShardControl>]>>,
    count: AtomicUsize,
    /// Shards of earlier configurations, for reading.
    archived: Vec<Arc<LogView>>,
}

impl Shards {
    pub(super) fn new(started: Vec<Arc<ShardControl>>, archived: Vec<Arc<LogView>>) -> Self {
        Self { count: AtomicUsize::new(started.len()), started: RwLock::new(started.into()), archived }
    }

    /// All shards that were started, by number. A lock and a reference count.
    pub(crate) fn all(&self) -> Arc<[Arc<ShardControl>]> {
        Arc::clone(&self.started.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shard of this number, if it was started.
    pub(crate) fn get(&self, shard: u16) -> Option<Arc<ShardControl>> {
        self.all().get(usize::from(shard)).cloned()
    }

    /// All shards that were started, unless a thread changes them at this moment.
    pub(super) fn try_all(&self) -> Option<Arc<[Arc<ShardControl>]>> {
        self.started.try_read().ok().map(|started| Arc::clone(&started))
    }

    /// Adds the shard of the next number. It takes events once a route leads to it.
    pub(super) fn add(&self, shard: Arc<ShardControl>) {
        let mut started = self.started.write().unwrap_or_else(PoisonError::into_inner);
        *started = started.iter().cloned().chain([shard]).collect();
        // SYNC: pairs with the Acquire load in count(): a reader of events of a later route sees the shard.
        self.count.store(started.len(), Ordering::Release);
    }

    /// The number of shards that were started. One load.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        // SYNC: pairs with the Release store in add().
        self.count.load(Ordering::Acquire)
    }

    /// The views of the shards of earlier configurations.
    pub(crate) fn archived(&self) -> &[Arc<LogView>] {
        &self.archived
    }

    /// The views of the shards that were started, then those of the archived ones.
    pub(crate) fn views(&self) -> impl Iterator<Item = Arc<LogView>> {
        let started: Vec<_> = self.all().iter().map(|shard| Arc::clone(shard.view())).collect();
        started.into_iter().chain(self.archived.iter().cloned())
    }

    /// The first sequence of a shard that this process writes: what is before is complete.
    pub(crate) fn written_from(&self, shard: u16) -> Sequence {
        self.get(shard).map_or(Sequence::new(u64::MAX), |shard| shard.facts().opened_at())
    }
}
