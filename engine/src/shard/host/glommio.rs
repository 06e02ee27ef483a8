//! The glommio host: an executor of the shard's pinned thread, whose one task steps the shard.
//!
//! The task never yields. glommio 0.9 parks an executor for good if its thread was off its core for longer than the
//! preempt timer between setting that timer and running its queues, although a task is ready; neither a timer of its own
//! nor a wake from another thread ends that reliably. So the executor runs its queues once, with a timer that does not
//! fire, and chores run on threads of their own.

use std::time::Duration;

use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::super::Shard;
use super::background::ThreadBackground;
use super::thread;
use crate::config::IdleMode;

/// Longer than any thread is kept from its core.
const PREEMPT: Duration = Duration::from_secs(3600);

/// Memory for glommio's own files, of which there are none: the least it takes.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// An executor of the calling thread, which is pinned already.
pub(super) fn executor() -> Result<LocalExecutor, GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
}

/// Runs a shard until it is stopped.
pub(in super::super) fn run(
    executor: &LocalExecutor,
    idle: IdleMode,
    background: ThreadBackground,
    make: impl FnOnce(ThreadBackground) -> Shard<ThreadBackground>,
) {
    executor.run(async { thread::run(idle, background, make) });
}
