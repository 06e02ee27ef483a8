//! The loss book of a lane: what became of the events that found no room in it.
//!
//! The writer alone stores these numbers, and only when the lane has no room; everyone else reads them. They are
//! statistics: exact once the writer rests. The sessions of dropped events that no note reports are the writer's; when
//! it goes, it leaves them here for the reader. The writer of an evicting lane counts them here at once: its shard
//! reports them.

// Not loom's: nothing of a model happens under it.
use std::sync::{Mutex, PoisonError};

use tapeline_reader::note::DroppedSessions;

use super::sync::{AtomicU64, Ordering};
use super::{DropReason, Drops};
use crate::core::refusals::{RefusalReason, Refusals};

/// Numbers of events, but for `notes`.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct LossBook {
    newest: AtomicU64,
    oldest: AtomicU64,
    sampled: AtomicU64,
    /// Those that notes in the lane report to readers.
    reported: AtomicU64,
    /// Such notes.
    notes: AtomicU64,
    /// Those that went back to their producer.
    refused: [AtomicU64; RefusalReason::COUNT],
    /// Those among them that had been published, too late to be taken.
    withdrawn: AtomicU64,
    /// The sessions of dropped events, by reason: of an evicting lane, or left by a writer that is gone.
    sessions: Mutex<[DroppedSessions; DropReason::COUNT]>,
}

impl LossBook {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            newest: zero(),
            oldest: zero(),
            sampled: zero(),
            reported: zero(),
            notes: zero(),
            refused: std::array::from_fn(|_| zero()),
            withdrawn: zero(),
            sessions: Mutex::default(),
        }
    }

    /// Enters events that were dropped.
    pub(super) fn enter_dropped(&self, reason: DropReason, events: u64) {
        match reason {
            DropReason::Newest => add(&self.newest, events),
            DropReason::Oldest => add(&self.oldest, events),
            DropReason::Sampled => add(&self.sampled, events),
            // Counted as refused.
            _ => {}
        }
    }

    /// Enters events that went back to their producer; `withdrawn` of them had been published.
    pub(super) fn enter_refused(&self, reason: RefusalReason, events: u64, withdrawn: u64) {
        add(&self.refused[reason.index()], events);
        add(&self.withdrawn, withdrawn);
    }

    /// Enters a note in the lane that reports so many dropped events.
    pub(super) fn enter_note(&self, events: u64) {
        add(&self.reported, events);
        add(&self.notes, 1);
    }

    /// Has `count` count the sessions of dropped events, before [`LossBook::enter_dropped`]: who sees the number finds
    /// the sessions.
    pub(super) fn count_sessions<T>(&self, reason: DropReason, count: impl FnOnce(&mut DroppedSessions) -> T) -> T {
        count(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner)[reason.index()])
    }

    /// Takes the sessions that are here.
    pub(super) fn take_sessions(&self, reason: DropReason) -> DroppedSessions {
        self.count_sessions(reason, std::mem::take)
    }

    pub(super) fn drops(&self) -> Drops {
        Drops::of([&self.newest, &self.oldest, &self.sampled].map(|number| number.load(Ordering::Relaxed)))
    }

    /// Dropped events that no note in the lane reports.
    pub(super) fn unreported(&self) -> u64 {
        let reported = self.reported.load(Ordering::Relaxed);
        self.drops().total().saturating_sub(reported)
    }

    pub(super) fn notes(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> Refusals {
        Refusals::of(self.refused.each_ref().map(|number| number.load(Ordering::Relaxed)))
    }

    pub(super) fn withdrawn(&self) -> u64 {
        self.withdrawn.load(Ordering::Relaxed)
    }
}

/// Adds to a number that the calling thread alone stores.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
