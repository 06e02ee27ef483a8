//! Steps in the life of a bus that tests have fail, panic or wait, and a machine whose clocks tests set. In a build for users
//! every step passes, and the machine is what it is.

use std::io;

use tapeline_storage::format::LogId;

/// A step in the life of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
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
    /// A thread of chores has taken one.
    Chore,
    /// A thread of chores has done one, and has not said so.
    ChoreDone,
}

/// Goes on after a step of this log's bus.
///
/// # Errors
/// What a test has in store.
#[cfg(not(any(test, feature = "seam")))]
#[inline(always)]
pub(crate) fn pass(_: LogId, _: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(any(test, feature = "seam"))]
pub use machine::{Machine, MachineEvent};
#[cfg(any(test, feature = "seam"))]
pub(crate) use planned::pass;
#[cfg(any(test, feature = "seam"))]
pub use planned::{forget, plan};

#[cfg(any(test, feature = "seam"))]
mod planned {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    type Action = Box<dyn FnOnce() -> io::Result<()> + Send>;

    static PLANS: Mutex<Vec<(LogId, Step, Action)>> = Mutex::new(Vec::new());
    /// How many there are, so that a step without one is cheap.
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    fn change<T>(change: impl FnOnce(&mut Vec<(LogId, Step, Action)>) -> T) -> T {
        let mut plans: MutexGuard<'_, _> = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut plans);
        COUNT.store(plans.len(), Ordering::SeqCst);
        changed
    }

    /// Has the action take place when this log comes to the step for the next time.
    pub fn plan(log: LogId, step: Step, action: impl FnOnce() -> io::Result<()> + Send + 'static) {
        change(|plans| plans.push((log, step, Box::new(action))));
    }

    /// Forgets the actions that did not take place. Returns whether there were none.
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

#[cfg(any(test, feature = "seam"))]
mod machine {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A machine's clocks, until a test sets them: a counter of nanoseconds that stands for the TSC, and the uptime.
    #[derive(Debug)]
    pub struct Machine {
        offset: AtomicU64,
        per_mille: AtomicU64,
        slept: AtomicU64,
        is_present: AtomicBool,
    }

    /// What a suspend, a hibernation or a migration does to the clocks of a machine.
    #[derive(Debug, Clone, Copy)]
    pub struct MachineEvent {
        /// By how much the counter jumps.
        pub ticks: i64,
        /// Ticks of the counter in 1,000 ns from then on.
        pub per_mille: u64,
        /// How long the machine was suspended, in nanoseconds.
        pub slept: u64,
    }

    /// The machine of the process's clock, if it is present.
    static OF_PROCESS: Machine = Machine::new();

    impl PartialEq for Machine {
        fn eq(&self, other: &Self) -> bool {
            std::ptr::eq(self, other)
        }
    }

    impl Eq for Machine {}

    impl Machine {
        pub(crate) const fn new() -> Self {
            Self {
                offset: AtomicU64::new(1 << 60),
                per_mille: AtomicU64::new(1_000),
                slept: AtomicU64::new(0),
                is_present: AtomicBool::new(false),
            }
        }

        /// Takes the place of the machine on which this process runs. Before the process first asks for the time.
        pub fn replace_real() -> &'static Self {
            OF_PROCESS.is_present.store(true, Ordering::SeqCst);
            &OF_PROCESS
        }

        pub(crate) fn of_process() -> Option<&'static Self> {
            OF_PROCESS.is_present.load(Ordering::SeqCst).then_some(&OF_PROCESS)
        }

        /// The counter when the machine has been up for so many nanoseconds.
        pub(crate) fn read(&self, uptime: u64) -> u64 {
            let ticks = u128::from(uptime) * u128::from(self.per_mille.load(Ordering::Relaxed)) / 1_000;
            self.offset.load(Ordering::Relaxed).wrapping_add(ticks as u64)
        }

        /// Nanoseconds that the machine was suspended for.
        pub fn slept(&self) -> u64 {
            self.slept.load(Ordering::Relaxed)
        }

        /// Has the event happen to the machine.
        pub fn happen(&self, event: MachineEvent) {
            self.slept.fetch_add(event.slept, Ordering::Relaxed);
            self.offset.fetch_add(event.ticks as u64, Ordering::Relaxed);
            self.per_mille.store(event.per_mille, Ordering::Relaxed);
        }
    }
}
