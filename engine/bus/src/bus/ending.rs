//! The end of a bus: asks its threads to end, and waits for them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tapeline_reader::{AdapterError, AdapterResult, NotDurable};
use tapeline_storage::log::Poison;

use crate::bus_core::BusCore;
use crate::core::park;
use crate::core::timer::{Timer, before};
use crate::factory::ShardFactory;
use crate::ingest::local::Locals;
use crate::retention::Keeper;
use crate::scaling::Scaling;
use crate::shard::TASK_PATIENCE;

use super::EventBus;
use super::relays::RelayHandles;

/// The longest time that the drop of a bus blocks its thread.
pub(crate) const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// All that has threads of a bus.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) core: Arc<BusCore>,
    /// Producers that threads have.
    pub(crate) locals: Arc<Locals>,
    pub(crate) factory: Arc<ShardFactory>,
    pub(crate) scaling: Option<Arc<Scaling>>,
    pub(crate) keeper: Option<Arc<Keeper>>,
    pub(crate) relays: Arc<RelayHandles>,
}

/// The outcome of waiting for the threads of a bus.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The message of the first that panicked.
    pub(crate) panic: Option<String>,
    /// A shard of which a task still runs.
    pub(crate) runs: Option<u16>,
}

impl Ending {
    /// Asks every thread to end.
    pub(crate) fn ask(&self) {
        self.core.close();
        // First, so that no shard comes while the others go. Waits for a change that is under way.
        if let Some(scaling) = &self.scaling {
            scaling.end();
        }
        if let Some(keeper) = &self.keeper {
            keeper.end();
        }
        self.stop_shards();
        self.end_loading();
    }

    fn end_loading(&self) {
        if let Some(threads) = self.core.readers().load_threads() {
            threads.end();
        }
    }

    /// As [`Ending::ask`], and does not wait.
    pub(crate) fn ask_aside(&self) {
        let others = self.clone();
        if thread::Builder::new().name("tapeline-end".into()).spawn(move || others.ask()).is_err() {
            self.stop_shards();
            self.end_loading();
        }
    }

    fn stop_shards(&self) {
        self.core.shards().all().iter().for_each(|shard| shard.stop());
    }

    /// Waits for the end of the shards' threads and of those of their tasks, and takes from other threads what they
    /// keep of the bus.
    pub(crate) fn join(&self) -> Joined {
        let panic = self.factory.join();
        park::block_on(self.relays.ended(None));
        let until = Instant::now() + TASK_PATIENCE;
        let runs = self.core.shards().all().iter().fold(None, |runs, shard| {
            let has_ended = shard.tasks().join(until);
            runs.or((!has_ended).then(|| shard.id()))
        });
        if let Some(threads) = self.core.readers().load_threads() {
            threads.join();
        }
        self.locals.withdraw();
        Joined { panic, runs }
    }

    /// Has another thread ask and wait, and waits for that for [`DROP_PATIENCE`]; not at all on a thread of the bus,
    /// which would wait for itself. The log's lock is held until the last thread of the bus has ended, whichever waits
    /// for it.
    pub(crate) fn carry_out(self) {
        let may_wait = self.core.check_may_wait("drop").is_ok();
        self.core.close();
        let others = self.clone();
        let (ended, end) = mpsc::channel::<()>();
        let waits = move || {
            others.ask();
            // The shard that a panic belongs to has poisoned its log.
            let _ = others.join();
            // Nothing of the bus is left to this thread when the dropping one goes on.
            drop(others);
            drop(ended);
        };
        match thread::Builder::new().name("tapeline-end".into()).spawn(waits) {
            Ok(_) if may_wait => {
                // Where another thread still uses the bus's files then, it has their lock.
                let _ = end.recv_timeout(DROP_PATIENCE);
            }
            Ok(_) => {}
            // Without a thread that waits, the threads end by themselves.
            Err(_) => {
                self.stop_shards();
                self.end_loading();
            }
        }
    }
}

impl EventBus {
    /// Ends the bus: takes no more events, makes those that were taken durable, seals the log.
    ///
    /// # Errors
    /// [`AdapterError`], where events that were taken could not be made durable: [`AdapterError::StorageFull`], where
    /// that was for want of space. [`EventBus::shutdown_within`] says which events, where the disk does not answer.
    pub async fn shutdown(self) -> AdapterResult<()> {
        self.shutdown_via_ref().await
    }

    /// As [`EventBus::shutdown`], through a reference. Reading goes on to work, and the directory stays locked until
    /// the bus is dropped. Every call after the first waits for the end like the first.
    ///
    /// # Errors
    /// As [`EventBus::shutdown`]. [`AdapterError::OnShard`] from a task of the bus, which would wait for itself.
    /// [`AdapterError::TaskRuns`], when all is durable and closed, where a task does not come to an `await`: its thread
    /// keeps the lock of the directory.
    pub async fn shutdown_via_ref(&self) -> AdapterResult<()> {
        self.check_may_end()?;
        let ending = self.ending();
        ending.ask();
        self.shards_stopped().await?;
        self.relays.ended(None).await;
        self.ended(&ending)
    }

    /// As [`EventBus::shutdown_via_ref`], but waits for `patience` at most for events to become durable: for a process
    /// that has to end whatever its disk does. The bus goes on ending after that, and another call may wait for it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tapeline::{AdapterError, EventBus, EventBusConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// match bus.shutdown_within(Duration::from_secs(10)).await {
    ///     Err(AdapterError::NotEnded { shards }) => {
    ///         for shard in shards {
    ///             eprintln!("shard {}: sequences {:?} may be lost", shard.shard_id, shard.sequences);
    ///         }
    ///     }
    ///     ended => ended?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AdapterError::NotEnded`] with the events that are not durable; as [`EventBus::shutdown_via_ref`].
    pub async fn shutdown_within(&self, patience: Duration) -> AdapterResult<()> {
        self.check_may_end()?;
        let ending = self.ending();
        ending.core.close();
        // A change of the number of shards may wait for a disk: another thread waits for it.
        ending.ask_aside();
        let due = Instant::now().checked_add(patience);
        let ended = match due {
            Some(due) => before(Timer::new(self.core.timers(), due), self.shards_stopped()).await,
            None => Ok(Some(self.shards_stopped().await)),
        };
        match ended.map_err(|source| AdapterError::NoThread { purpose: "timers", source })? {
            Some(stopped) => stopped?,
            None => return Err(AdapterError::NotEnded { shards: self.not_durable() }),
        }
        self.relays.ended(due.map(|due| due.saturating_duration_since(Instant::now()))).await;
        self.ended(&ending)
    }

    /// The events that are taken over and not durable, of each shard that has any. After a shutdown that failed, those
    /// that it failed for.
    pub fn not_durable(&self) -> Vec<NotDurable> {
        if self.core.is_forked() {
            return Vec::new();
        }
        let shards = self.core.shards().all();
        shards.iter().map(|shard| shard.not_durable()).filter(|shard| shard.events() > 0).collect()
    }

    fn check_may_end(&self) -> AdapterResult<()> {
        self.core.check_fork()?;
        self.core.check_may_wait("shutdown")
    }

    async fn shards_stopped(&self) -> AdapterResult<()> {
        for shard in self.core.shards().all().iter() {
            shard.stopped().await?;
        }
        Ok(())
    }

    /// Waits for the threads of a bus whose shards have stopped.
    ///
    /// # Errors
    /// As [`EventBus::shutdown_via_ref`].
    fn ended(&self, ending: &Ending) -> AdapterResult<()> {
        let outcome = ending.join();
        self.is_shutdown_completed.store(outcome.runs.is_none(), Ordering::Release);
        if let Some(poison) = self.core.shards().all().iter().find_map(|shard| shard.view().poison().cloned()) {
            return Err(why_not_durable(poison));
        }
        match (outcome.panic, outcome.runs) {
            (Some(message), _) => Err(AdapterError::Panicked { message }),
            (_, Some(shard)) => Err(AdapterError::TaskRuns { shard_id: shard }),
            _ => Ok(()),
        }
    }

    fn ending(&self) -> Ending {
        Ending {
            core: Arc::clone(&self.core),
            locals: Arc::clone(&self.locals),
            factory: Arc::clone(&self.factory),
            scaling: self.scaling.clone(),
            keeper: self.keeper.clone(),
            relays: Arc::clone(&self.relays),
        }
    }
}

/// The error of a bus that ends and could not make all durable.
fn why_not_durable(poison: Poison) -> AdapterError {
    if poison.is_for_want_of_space() {
        AdapterError::StorageFull { shard_id: poison.shard_id }
    } else {
        AdapterError::Poisoned(Box::new(poison))
    }
}

impl Drop for EventBus {
    fn drop(&mut self) {
        if self.core.is_forked() {
            self.factory.forget_threads();
            self.core.forget_threads();
            if let Some(scaling) = &self.scaling {
                scaling.forget_thread();
            }
            if let Some(keeper) = &self.keeper {
                keeper.forget_thread();
            }
            return;
        }
        self.ending().carry_out();
    }
}

#[cfg(test)]
mod tests {
    use tapeline_storage::format::Sequence;

    use super::*;

    #[test]
    fn a_log_that_ended_for_want_of_space_ends_its_bus_with_a_full_disk() {
        let poison = |errno| Poison {
            shard_id: 3,
            operation: "close",
            place: String::new(),
            errno,
            message: String::new(),
            durable: Sequence::ZERO,
        };
        assert!(matches!(why_not_durable(poison(Some(libc::ENOSPC))), AdapterError::StorageFull { shard_id: 3 }));
        for other in [Some(libc::EIO), None] {
            assert!(matches!(why_not_durable(poison(other)), AdapterError::Poisoned(_)));
        }
    }
}
