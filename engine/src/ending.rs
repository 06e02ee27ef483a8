//! The end of a bus: asks its threads to end, and waits for them.

use std::sync::Arc;
use std::thread;

use crate::blocking::is_shard_thread;
use crate::foundry::Foundry;
use crate::parts::BusParts;
use crate::producer::local::Locals;
use crate::retention::Keeper;
use crate::scaling::Scaling;

/// All that has threads of a bus.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) parts: Arc<BusParts>,
    /// Producers that threads have.
    pub(crate) locals: Arc<Locals>,
    pub(crate) foundry: Arc<Foundry>,
    pub(crate) scaling: Option<Arc<Scaling>>,
    pub(crate) keeper: Option<Arc<Keeper>>,
}

impl Ending {
    /// Asks every thread to end.
    pub(crate) fn ask(&self) {
        self.parts.close();
        // First, so that no shard comes while the others go. Waits for a change that is under way.
        if let Some(scaling) = &self.scaling {
            scaling.end();
        }
        if let Some(keeper) = &self.keeper {
            keeper.end();
        }
        self.stop_shards();
    }

    fn stop_shards(&self) {
        self.parts.shards().iter().for_each(|shard| shard.stop());
    }

    /// Waits for the end of the shards' threads, and takes from other threads what they keep of the bus. The message of the
    /// first that panicked.
    pub(crate) fn join(&self) -> Option<String> {
        let panic = self.foundry.join();
        self.locals.withdraw();
        panic
    }

    /// Asks and waits. A thread of a shard would wait for itself: there another thread does both. The log's lock is held
    /// until the last thread of the bus has ended, whoever waits for it.
    pub(crate) fn carry_out(self) {
        if !is_shard_thread() {
            self.ask();
            // The shard that it belongs to has poisoned its log.
            let _ = self.join();
            return;
        }
        self.parts.close();
        let others = self.clone();
        let waits = move || {
            others.ask();
            let _ = others.join();
        };
        // Without a thread that waits, the threads end by themselves.
        if thread::Builder::new().name("tapeline-end".into()).spawn(waits).is_err() {
            self.stop_shards();
        }
    }
}
