//! The bell: wakes a follower of one or several shards, without a wake-up being lost.
//!
//! The follower arms the bell, then looks once more, then sleeps; a shard publishes, then rings. Both have a `SeqCst`
//! fence between their two steps, so either the follower's look finds what was published, or the shard finds the bell
//! armed. An armed bell is rung once, by the shard that comes first; one that is not armed costs the shard a load.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::sync::{AtomicBool, AtomicUsize, AtomicWaker, Ordering, fence};
use crate::core::foreign;

/// The bell of one follower.
#[derive(Debug)]
pub(crate) struct Bell {
    armed: AtomicBool,
    /// Shards that may ring.
    shards: AtomicUsize,
    /// The follower wants nothing any more.
    silent: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self {
            armed: AtomicBool::new(false),
            shards: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Has the next ring wake `waker`. The caller looks once more before it sleeps.
    pub(crate) fn arm(&self, waker: &Waker) {
        self.waker.register(&foreign::contained(waker));
        self.armed.store(true, Ordering::Relaxed);
        // SYNC: pairs with the fence that shards execute between publishing and ring().
        fence(Ordering::SeqCst);
    }

    /// The follower is awake.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Wakes the follower if it sleeps; returns whether it did. Comes after a `SeqCst` fence.
    pub(crate) fn ring(&self) -> bool {
        // SYNC: AcqRel: the waker that was registered before arming is the one that is woken.
        let rung = self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::AcqRel);
        if rung {
            self.waker.wake();
        }
        rung
    }

    /// A waker that rings it, for what a follower waits for beside its shards.
    pub(crate) fn ringer(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(super) fn join(&self) {
        self.shards.fetch_add(1, Ordering::Relaxed);
    }

    /// A shard will not ring again. A sleeping follower is woken.
    pub(super) fn leave(&self) {
        // SYNC: pairs with the Acquire load in is_connected(): all that the shard published is seen.
        self.shards.fetch_sub(1, Ordering::Release);
        fence(Ordering::SeqCst);
        self.ring();
    }

    /// Returns whether any shard may still ring.
    pub(crate) fn is_connected(&self) -> bool {
        self.shards.load(Ordering::Acquire) > 0
    }

    /// The follower is gone.
    pub(crate) fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SYNC: pairs with the fence in arm(): what the follower waits for was there before.
        fence(Ordering::SeqCst);
        self.ring();
    }
}
