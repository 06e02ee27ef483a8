//! Steps in the life of a bus that tests have fail, panic or wait, and a machine whose clocks tests set. In a build for
//! users every step passes, and the machine is what it is.

use std::io;

use tapeline_storage::format::LogId;

/// A step in the life of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "seam"), allow(unreachable_pub, reason = "public where tests of other packages need it"))]
pub enum Step {
    /// The thread of this shard is made.
    Spawn(u16),
    /// The doorbell of a shard is made.
    Doorbell,
    /// The thread for the tasks of a shard is made.
    Companion,
    /// A producer's lane to a shard is made.
    Lane,
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
    /// A thread of chores has taken one.
    Chore,
    /// A thread of chores has done one, and has not said so.
    ChoreDone,
}

/// Goes on after a step of this log's bus.
///
/// # Errors
/// An error that a test has planned.
#[cfg(not(any(test, feature = "seam")))]
#[inline(always)]
pub(crate) fn pass(_: LogId, _: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(any(test, feature = "seam"))]
pub(crate) use planned::pass;
#[cfg(any(test, feature = "seam"))]
pub use planned::{forget, plan};
#[cfg(any(test, feature = "seam"))]
pub use tapeline_reader::timestamp::machine::{Machine, MachineEvent};

#[cfg(any(test, feature = "seam"))]
mod planned {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    type Action = Box<dyn FnOnce() -> io::Result<()> + Send>;

    static PLANS: Mutex<Vec<(LogId, Step, Action)>> = Mutex::new(Vec::new());
    /// The number of plans, so that a step without one is cheap.
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    fn change<T>(change: impl FnOnce(&mut Vec<(LogId, Step, Action)>) -> T) -> T {
        let mut plans: MutexGuard<'_, _> = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut plans);
        COUNT.store(plans.len(), Ordering::SeqCst);
        changed
    }

    /// Runs the action when this log comes to the step for the next time.
    pub fn plan(log: LogId, step: Step, action: impl FnOnce() -> io::Result<()> + Send + 'static) {
        change(|plans| plans.push((log, step, Box::new(action))));
    }

    /// Forgets the actions that did not run. Returns whether there were none.
    pub fn forget(log: LogId) -> bool {
        let forgotten = change(|plans| plans.extract_if(.., |(of, ..)| *of == log).count());
        forgotten == 0
    }

    pub(crate) fn pass(log: LogId, step: Step) -> io::Result<()> {
        if COUNT.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let action = change(|plans| {
            let at = plans.iter().position(|(of, at, _)| (*of, *at) == (log, step));
            at.map(|at| plans.swap_remove(at).2)
        });
        action.map_or(Ok(()), |action| action())
    }
}
