//! The cores of threads: producers on the first, shards on the last.

use super::Outcome;

/// The cores of one run.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    /// One for each producer.
    pub(crate) producers: Vec<usize>,
    /// One for each shard.
    pub(crate) shards: Vec<usize>,
}

impl Cores {
    /// Deals out the cores this process may use. With too few of them they are shared, which the reports show.
    pub(crate) fn plan(producers: usize, shards: usize) -> Outcome<Self> {
        let mut ids: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        ids.sort_unstable();
        if ids.is_empty() {
            return Err("no core can be named: the affinity mask of this process cannot be read".into());
        }
        Ok(Self {
            producers: ids.iter().cycle().take(producers).copied().collect(),
            shards: ids.iter().rev().cycle().take(shards).copied().collect(),
        })
    }

    /// The first producer's core.
    pub(crate) fn producer(&self) -> usize {
        self.producers.first().copied().unwrap_or_default()
    }

    /// The first shard's core.
    pub(crate) fn shard(&self) -> usize {
        self.shards.first().copied().unwrap_or_default()
    }
}

/// Pins the calling thread.
pub(crate) fn pin(core: usize) -> Outcome<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        Ok(())
    } else {
        Err(format!("cannot pin a thread to core {core}").into())
    }
}

/// Runs `work` on a thread of its own, pinned to `core`, so that the caller's placement stays as it is.
pub(crate) fn on_core<T: Send>(core: usize, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    let run = || {
        pin(core)?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_| Err("a measuring thread panicked".into()))
}
