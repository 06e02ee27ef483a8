//! The callers that wait for a shard: for events to be readable or durable, for a trim, for the shard's end.
//!
//! A waiter listens, looks once more, then sleeps; the shard's thread changes something, then notifies. So either the
//! waiter's second look finds the change, or the notification finds the waiter. All waiters share one event: the shard
//! notifies at most once a turn, however many there are.
//!
//! The event has a lock, which it holds while it calls and drops wakers: those of users wait for its end
//! ([`foreign::without_foreign_code`]), because they may listen to the same event.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use event_listener::{Event, EventListener};
use tapeline_reader::AdapterResult;

use super::inbox::Inbox;
use crate::core::foreign;
use crate::lane::LaneHandle;

/// The stage that events are to have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Readable.
    Appended,
    /// Acknowledged at the log's level.
    Durable,
}

impl Reach {
    /// The wait for it, for messages.
    pub(super) fn wait(self) -> &'static str {
        match self {
            Self::Appended => "waiting for events to be readable",
            Self::Durable => "waiting for durability",
        }
    }
}

/// Everything that had been published to a shard at one moment.
#[derive(Debug, Clone)]
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

    /// Waits until `look` has an answer. Each time that it has none, wakes the shard. `call` names the wait.
    ///
    /// # Errors
    /// [`AdapterError::OnShard`](tapeline_reader::AdapterError::OnShard), where a shard's thread would have to wait.
    pub(super) async fn wait<T>(
        &self,
        call: &'static str,
        inbox: &Inbox,
        look: impl Fn() -> Option<AdapterResult<T>>,
    ) -> AdapterResult<T> {
        loop {
            match self.look(inbox, &look) {
                Ok(answer) => return answer,
                Err(next_move) => foreign::awaited_off_shard(call, next_move).await?,
            }
        }
    }

    /// As [`Waiters::wait`], blocking the thread.
    pub(super) fn wait_blocking<T>(&self, inbox: &Inbox, look: impl Fn() -> Option<T>) -> T {
        loop {
            match self.look(inbox, &look) {
                Ok(answer) => return answer,
                Err(next_move) => next_move.wait(None),
            }
        }
    }

    /// # Errors
    /// The shard's next move, to be waited for, where `look` has no answer.
    fn look<T>(&self, inbox: &Inbox, look: impl Fn() -> Option<T>) -> Result<T, NextMove> {
        if let Some(answer) = look() {
            return Ok(answer);
        }
        // Listening comes before the second look, so that no move is missed between.
        let next_move = NextMove(Some(self.moved.listen()));
        match look() {
            Some(answer) => Ok(answer),
            None => {
                inbox.wake();
                Err(next_move)
            }
        }
    }

    /// Wakes the shard, and returns its next move, to be waited for.
    pub(super) fn next_move(&self, inbox: &Inbox) -> NextMove {
        let next_move = NextMove(Some(self.moved.listen()));
        inbox.wake();
        next_move
    }

    /// Has every waiter look again.
    pub(super) fn notify(&self) {
        foreign::without_foreign_code(|| self.moved.notify(usize::MAX));
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

/// The next move of a shard, to be waited for.
#[derive(Debug)]
pub(crate) struct NextMove(Option<EventListener>);

impl NextMove {
    /// Blocks the thread until the shard has moved, but not longer than until `deadline`.
    pub(crate) fn wait(mut self, deadline: Option<Instant>) {
        use event_listener::Listener;
        let Some(listener) = self.0.take() else { return };
        foreign::without_foreign_code(|| match deadline {
            Some(deadline) => drop(listener.wait_deadline(deadline)),
            None => listener.wait(),
        });
    }
}

impl Future for NextMove {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(listener) => foreign::without_foreign_code(|| Pin::new(listener).poll(context)),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for NextMove {
    fn drop(&mut self) {
        // The listener passes on a notification that it has not heard.
        foreign::without_foreign_code(|| drop(self.0.take()));
    }
}
