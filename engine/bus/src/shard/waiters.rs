//! The callers that wait for a shard: for events to be readable or durable, for a trim, for the shard's end.
//!
//! A waiter listens, looks once more, then sleeps; the shard's thread changes something, then notifies. So either the
//! waiter's second look finds the change, or the notification finds the waiter. All waiters share one event: the shard
//! notifies at most once a turn, however many there are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use event_listener::{Event, EventListener};

use super::inbox::Inbox;
use crate::core::foreign;
use crate::lane::LaneHandle;

/// How far events are to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Readable.
    Appended,
    /// Acknowledged at the log's level.
    Durable,
}

/// Everything that had been published to a shard at one moment.
#[derive(Debug)]
pub(crate) struct Barrier(Vec<(LaneHandle, u64)>);

impl Barrier {
    /// The barrier after these entries, each of its own lane.
    pub(super) fn after(entries: Vec<(LaneHandle, u64)>) -> Self {
        Self(entries)
    }

    /// The barrier after one entry of one lane.
    pub(crate) fn of(lane: LaneHandle, entry: u64) -> Self {
        Self(vec![(lane, entry)])
    }

    pub(crate) fn is_reached(&self, reach: Reach) -> bool {
        self.0.iter().all(|(lane, entry)| {
            let come = match reach {
                Reach::Appended => lane.released(),
                Reach::Durable => lane.durable(),
            };
            come >= *entry
        })
    }
}

/// The waiters of one shard.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Notified after the shard has moved.
    moved: Event,
    /// The number of waiters for durability.
    for_durability: AtomicUsize,
    /// The shard's thread has ended: nothing moves any more.
    stopped: AtomicBool,
}

impl Waiters {
    /// Counts a waiter for as long as the guard lives, if it waits for durability.
    pub(super) fn enter(&self, reach: Reach) -> Option<WaitsForDurability<'_>> {
        (reach == Reach::Durable).then(|| {
            self.for_durability.fetch_add(1, Ordering::Relaxed);
            WaitsForDurability(self)
        })
    }

    /// Returns whether a waiter waits for durability: then the shard commits at once.
    pub(super) fn want_durability(&self) -> bool {
        self.for_durability.load(Ordering::Relaxed) > 0
    }

    /// Waits until `look` has an answer. Each time that it has none, wakes the shard.
    pub(super) async fn wait<T>(&self, inbox: &Inbox, look: impl Fn() -> Option<T>) -> T {
        loop {
            match self.look(inbox, &look) {
                Ok(answer) => return answer,
                Err(listener) => foreign::awaited(listener).await,
            }
        }
    }

    /// As [`Waiters::wait`], blocking the thread.
    pub(super) fn wait_blocking<T>(&self, inbox: &Inbox, look: impl Fn() -> Option<T>) -> T {
        use event_listener::Listener;
        loop {
            match self.look(inbox, &look) {
                Ok(answer) => return answer,
                Err(listener) => listener.wait(),
            }
        }
    }

    /// # Errors
    /// Something to wait for, where `look` has no answer.
    fn look<T>(&self, inbox: &Inbox, look: impl Fn() -> Option<T>) -> Result<T, EventListener> {
        if let Some(answer) = look() {
            return Ok(answer);
        }
        // Listening comes before the second look, so that no move is missed between.
        let listener = self.moved.listen();
        match look() {
            Some(answer) => Ok(answer),
            None => {
                inbox.wake();
                Err(listener)
            }
        }
    }

    /// Returns something to wait for that ends when the shard moves; wakes the shard.
    pub(super) fn next_move(&self, inbox: &Inbox) -> EventListener {
        let listener = self.moved.listen();
        inbox.wake();
        listener
    }

    /// Has every waiter look again.
    pub(super) fn notify(&self) {
        self.moved.notify(usize::MAX);
    }

    /// The shard's thread is at its end.
    pub(super) fn set_stopped(&self) {
        // SYNC: pairs with the Acquire load in is_stopped(): all that the shard did is seen.
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        // SYNC: pairs with the Release store in set_stopped().
        self.stopped.load(Ordering::Acquire)
    }
}

/// A counted waiter for durability.
#[derive(Debug)]
pub(super) struct WaitsForDurability<'w>(&'w Waiters);

impl Drop for WaitsForDurability<'_> {
    fn drop(&mut self) {
        self.0.for_durability.fetch_sub(1, Ordering::Relaxed);
    }
}
