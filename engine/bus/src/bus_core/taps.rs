//! The cursors that producers publish with batches: which event of each is the last, and when their files are due.
//!
//! A crash leaves a prefix of each shard, and not the same prefix of all. So that it never leaves a cursor without the
//! events of the one before, a cursor goes to another shard only once the one before it is durable: its producer waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tapeline_reader::AdapterResult;

use super::BusCore;
use crate::core::lock::lock;
use crate::shard::{Barrier, Reach};

/// The time between two writings of the cursors' files, which bounds what an opening reads of the log to find them.
const FOLD_PERIOD: Duration = Duration::from_secs(10);

/// The last batch that was published with a cursor. Locked while the next one is.
pub(crate) type LastBatch = Arc<Mutex<Option<TapBatch>>>;

/// A batch that was published with a cursor.
#[derive(Debug, Clone)]
pub(crate) struct TapBatch {
    pub(crate) shard: u16,
    pub(crate) barrier: Barrier,
}

impl TapBatch {
    /// Waits, blocking the thread, until it is durable.
    ///
    /// # Errors
    /// As [`EventBus::durable`](crate::EventBus::durable).
    pub(crate) fn wait_durable(&self, core: &BusCore) -> AdapterResult<()> {
        match core.shards().get(self.shard) {
            Some(control) => control.wait_reached(&self.barrier, Reach::Durable),
            None => Ok(()),
        }
    }
}

/// The cursors that are published with batches.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    last: Mutex<HashMap<String, LastBatch>>,
    /// The log expects notes of cursors.
    expects: OnceLock<()>,
    folded_at: Mutex<Option<Instant>>,
}

impl Taps {
    /// The last batch with the cursor of this name.
    pub(crate) fn last_of(&self, name: &str) -> LastBatch {
        let mut last = lock(&self.last);
        match last.get(name) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(last.entry(name.to_owned()).or_default()),
        }
    }

    /// The same, if there is one.
    pub(crate) fn known(&self, name: &str) -> Option<LastBatch> {
        lock(&self.last).get(name).cloned()
    }

    /// Has `expect` called before the first note.
    pub(crate) fn begin<E>(&self, expect: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        if self.expects.get().is_none() {
            expect()?;
            self.expects.get_or_init(|| ());
        }
        Ok(())
    }

    /// Returns whether the cursors' files are due to be written, by the caller.
    pub(crate) fn is_fold_due(&self) -> bool {
        self.is_fold_due_at(Instant::now())
    }

    fn is_fold_due_at(&self, now: Instant) -> bool {
        let mut folded_at = lock(&self.folded_at);
        let since = *folded_at.get_or_insert(now);
        let is_due = now.saturating_duration_since(since) >= FOLD_PERIOD;
        if is_due {
            *folded_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_cursors_are_due_once_in_each_period_however_many_batches_come() {
        let (taps, begin) = (Taps::default(), Instant::now());
        let due = (0..350).filter(|tenth| taps.is_fold_due_at(begin + *tenth * FOLD_PERIOD / 100));
        assert_eq!(due.collect::<Vec<_>>(), [100, 200, 300]);
    }
}
