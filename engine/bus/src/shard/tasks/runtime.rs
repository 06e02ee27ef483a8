//! The runtime of a companion's tasks: a glommio executor, so that tasks may use glommio's timers, channels, files and
//! sockets, or a plain loop where glommio cannot run.
//!
//! glommio 0.9 may put an executor to sleep although a task is ready: `run_task_queues` returns the same for "nothing
//! to run" and for "preempted before anything ran", which happens when the thread is kept from its core for longer than
//! the preempt timer just after arming it. The shard reminds its companion every [`REMIND_NS`], which ends such a
//! sleep. A heartbeat of the executor's own would not: its wake may be consumed in the same pass. Before its first task
//! the companion cannot be reminded, so the timer is as long as [`PREEMPT`]. Tasks that are always ready would keep the
//! executor from its timers and files for so long; the companion lets it look at those after each [`SLICE`].
//!
//! glommio's wakers stay on the companion's thread, but for the one in its [`Line`](super::Line): they may be dropped
//! on another thread while the task they belong to is freed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, timer};
use tapeline_storage::device::probe;

use crate::core::{foreign, park};

/// Memory for glommio's own files: the least it takes. Larger reads and writes use the heap.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// Memory that a glommio executor locks.
const MEMLOCK_BYTES: u64 = 512 << 10;

/// The first kernel on which glommio does not end the process.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// glommio panicked while it made an executor. The statics that it fills then stay poisoned: each later executor of the
/// process would panic as well.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// glommio's preempt timer: far longer than a thread that wants to run is kept from its core.
const PREEMPT: Duration = Duration::from_secs(10);

/// The time for which tasks run before glommio looks at timers, files and sockets.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// The time between two reminders of a companion, in nanoseconds.
pub(crate) const REMIND_NS: u64 = 100_000_000;

/// Runs futures on the calling thread.
#[derive(Debug)]
pub(super) enum Runtime {
    Glommio(Box<LocalExecutor>),
    Plain,
}

impl Runtime {
    pub(super) const GLOMMIO: &'static str = "glommio";
    pub(super) const PLAIN: &'static str = "plain";

    /// glommio, or a plain loop and why.
    pub(super) fn make() -> (Self, Option<String>) {
        match executor() {
            Ok(executor) => (Self::Glommio(Box::new(executor)), None),
            Err(reason) => (Self::Plain, Some(format!("tasks run without glommio: {reason}"))),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Glommio(_) => Self::GLOMMIO,
            Self::Plain => Self::PLAIN,
        }
    }

    /// A future that is ready once the runtime has looked at timers, files and sockets, if it has any.
    pub(super) fn look(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        match self {
            // A timer that is over when it is polled first is ready at once.
            Self::Glommio(_) => Some(Box::pin(timer::sleep(Duration::from_micros(5)))),
            Self::Plain => None,
        }
    }

    /// Runs a future to its end.
    pub(super) fn run(&self, future: impl Future<Output = ()>) {
        match self {
            Self::Glommio(executor) => executor.run(future),
            Self::Plain => park::block_on(future),
        }
    }
}

/// glommio panics or ends the process where it cannot have its rings, so the kernel is asked first.
fn executor() -> Result<LocalExecutor, String> {
    check_kernel()?;
    probe::io_uring_available().map_err(|error| error.to_string())?;
    let limit = probe::memlock_limit();
    if limit < MEMLOCK_BYTES {
        return Err(format!("the memlock limit is {limit} bytes, {MEMLOCK_BYTES} are needed"));
    }
    if IS_BROKEN.load(Ordering::Relaxed) {
        return Err("it panicked earlier in this process".into());
    }
    let builder = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    // Descriptors, memory or threads may have run out since.
    let made = foreign::contain(|| builder.make().map_err(|error| error.to_string()));
    made.unwrap_or_else(|panic| {
        IS_BROKEN.store(true, Ordering::Relaxed);
        Err(format!("it panicked: {panic}"))
    })
}

fn check_kernel() -> Result<(), String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= KERNEL_MIN => Ok(()),
        _ => Err(format!("the kernel is {:?}, at least 5.8 is needed", release.trim())),
    }
}
