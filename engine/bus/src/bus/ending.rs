//! The end of a bus: asks its threads to end, and waits for them.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::bus_core::BusCore;
use crate::factory::ShardFactory;
use crate::ingest::local::Locals;
use crate::retention::Keeper;
use crate::scaling::Scaling;
use crate::shard::TASK_PATIENCE;

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
        if let Some(threads) = self.core.load_threads() {
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
        let until = Instant::now() + TASK_PATIENCE;
        let runs = self.core.shards().all().iter().fold(None, |runs, shard| {
            let has_ended = shard.tasks().join(until);
            runs.or((!has_ended).then(|| shard.id()))
        });
        if let Some(threads) = self.core.load_threads() {
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
