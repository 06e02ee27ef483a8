//! The horizon: the time below which every event of a bus is readable, so that nothing earlier can turn up.
//!
//! A producer marks an event with a lower bound of its time before it reads the clock, and clears the mark once it has
//! published the event (`lane/mark.rs`). A reader that wants the horizon reads the clock, has every thread of the
//! process execute a fence, and then reads the marks: a producer that drew an earlier time has either published the
//! event or left its mark. The reader then waits until what was published is readable. A producer pays two plain stores
//! an event, to a line of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::read::Visibility;

use crate::core::fence;
use crate::shard::{Reach, ShardControl};

/// The most by which clocks of two threads may differ, in nanoseconds, doubled.
const CLOCK_SKEW_NS: u64 = 2_000;

/// The horizon, for readers of each visibility.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    appended: AtomicU64,
    durable: AtomicU64,
}

impl Horizon {
    fn of(&self, visibility: Visibility) -> &AtomicU64 {
        match visibility {
            Visibility::Appended => &self.appended,
            Visibility::Durable => &self.durable,
        }
    }

    /// The horizon that is known already. Costs a load.
    pub(crate) fn known(&self, visibility: Visibility) -> u64 {
        self.of(visibility).load(Ordering::Relaxed)
    }
    /// Moves the horizon of these shards to the present, as far as producers let it, and returns it. `floor`: what has
    /// a timestamp up to this was written by an earlier process.
    ///
    /// # Errors
    /// [`AdapterError`], where a shard cannot be waited for.
    pub(super) async fn advance(
        &self,
        shards: &[Arc<ShardControl>],
        floor: u64,
        visibility: Visibility,
    ) -> AdapterResult<u64> {
        // Everything that an earlier process wrote is complete.
        let mut horizon = Clock::global().now().saturating_sub(CLOCK_SKEW_NS).max(floor.saturating_add(1));
        fence::all_threads();
        let mut barriers = Vec::new();
        for shard in shards {
            // A lane that is made after this has its first event's time read after this.
            let (since, barrier) = shard.pending();
            horizon = horizon.min(since);
            barriers.push(barrier);
        }
        let reach = match visibility {
            Visibility::Appended => Reach::Appended,
            Visibility::Durable => Reach::Durable,
        };
        for (shard, barrier) in shards.iter().zip(&barriers) {
            match shard.reached(barrier, reach).await {
                Ok(()) => {}
                // Nothing more of this shard will ever be readable.
                Err(AdapterError::Poisoned(_) | AdapterError::Shutdown) => {}
                // It will be, once the shard can write.
                Err(AdapterError::StorageFull { .. } | AdapterError::HeldUp { .. }) => {
                    return Ok(self.known(visibility));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.of(visibility).fetch_max(horizon, Ordering::Relaxed).max(horizon))
    }
}
