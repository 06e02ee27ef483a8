//! Where tests have the opening of a bus fail, or hold it up. In a build for users every step passes.

use std::io;

use tapeline_storage::format::LogId;

/// A step in the life of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The thread of this shard is made.
    Spawn(u16),
    /// Shards of earlier configurations are opened.
    Archived,
    /// The eras are read.
    ReadEras,
    /// The eras are written.
    SaveEras,
    /// The scaling thread is made.
    Scaling,
    /// The thread of the retention is made.
    Keeper,
    /// A shard makes a turn.
    Turn,
    /// A shard's thread has done its work, and goes on to end.
    ShardEnd,
}

/// Goes on behind a step of this log's bus.
///
/// # Errors
/// What a test has in store.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn pass(_: LogId, _: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use planned::{pass, plan};

#[cfg(test)]
mod planned {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    type Action = Box<dyn FnOnce() -> io::Result<()> + Send>;

    static PLANS: Mutex<Vec<(LogId, Step, Action)>> = Mutex::new(Vec::new());

    /// Has the action take place when this log comes to the step for the next time.
    pub(crate) fn plan(log: LogId, step: Step, action: impl FnOnce() -> io::Result<()> + Send + 'static) {
        PLANS.lock().unwrap_or_else(PoisonError::into_inner).push((log, step, Box::new(action)));
    }

    pub(crate) fn pass(log: LogId, step: Step) -> io::Result<()> {
        let action = {
            let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
            let at = plans.iter().position(|(of, at, _)| (*of, *at) == (log, step));
            at.map(|at| plans.swap_remove(at).2)
        };
        action.map_or(Ok(()), |action| action())
    }
}
