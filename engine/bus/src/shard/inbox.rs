//! The inbox of a shard: other threads hand it lanes and followers, and ask for a trim or its end.
//!
//! The shard's thread looks into its inbox once a turn. Events take another way: they come through the lanes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tapeline_storage::device::Doorbell;
use tapeline_storage::format::Sequence;

use super::lanes::Lanes;
use crate::feed::{Follower, Surveys};
use crate::lane::LaneReader;

/// The inbox of one shard, with the bell that ends the shard's nap.
#[derive(Debug)]
pub(crate) struct Inbox {
    doorbell: Doorbell,
    arrivals: Mutex<Arrivals>,
    has_arrivals: AtomicBool,
    surveys: Surveys,
    /// The shard is asked to give up the sealed segments that end here or before.
    trim_to: AtomicU64,
    /// The shard is asked to end.
    stop: AtomicBool,
}

/// The lanes and followers that have come since the shard looked.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) lanes: Vec<LaneReader>,
    pub(super) followers: Vec<Follower>,
    is_closed: bool,
}

impl Inbox {
    pub(super) fn new(doorbell: Doorbell) -> Self {
        Self {
            doorbell,
            arrivals: Mutex::default(),
            has_arrivals: AtomicBool::new(false),
            surveys: Surveys::default(),
            trim_to: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Hands the shard a new lane, which is listed among `lanes`. Rings no bell: the shard takes the lane in at its
    /// next turn, as it does an event.
    ///
    /// # Errors
    /// The lane, if the shard takes no more.
    pub(super) fn connect(&self, lane: LaneReader, lanes: &Lanes) -> Result<(), LaneReader> {
        self.arrive(lane, |arrivals, lane| {
            lanes.add(lane.handle());
            arrivals.lanes.push(lane);
        })
    }

    /// Hands the shard a new follower. A shard that has ended drops the follower, which learns of the end by that.
    pub(crate) fn follow(&self, follower: Follower) {
        if self.arrive(follower, |arrivals, follower| arrivals.followers.push(follower)).is_ok() {
            self.doorbell.ring();
        }
    }

    /// The surveys that followers of sessions know the log by.
    pub(crate) fn surveys(&self) -> &Surveys {
        &self.surveys
    }

    /// # Errors
    /// The lane or follower, if the inbox is closed.
    fn arrive<T>(&self, what: T, list: impl FnOnce(&mut Arrivals, T)) -> Result<(), T> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.is_closed {
            return Err(what);
        }
        list(&mut arrivals, what);
        // SYNC: pairs with the Acquire load in has_arrivals().
        self.has_arrivals.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn has_arrivals(&self) -> bool {
        // SYNC: pairs with the Release store in arrive().
        self.has_arrivals.load(Ordering::Acquire)
    }

    pub(super) fn take_arrivals(&self) -> Arrivals {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_arrivals.store(false, Ordering::Relaxed);
        let is_closed = arrivals.is_closed;
        std::mem::replace(&mut arrivals, Arrivals { is_closed, ..Arrivals::default() })
    }

    /// Takes no more lanes and followers.
    pub(super) fn close(&self) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
    }

    /// Asks the shard to give up the sealed segments that end at `to` or before.
    pub(crate) fn ask_to_trim(&self, to: Sequence) {
        self.trim_to.fetch_max(to.get(), Ordering::Relaxed);
        self.doorbell.ring();
    }

    /// The sequence below which the shard is asked to give up its sealed segments.
    pub(super) fn trim_to(&self) -> Sequence {
        Sequence::new(self.trim_to.load(Ordering::Relaxed))
    }

    /// Asks the shard to end.
    pub(super) fn ask_to_stop(&self) {
        // SYNC: pairs with the Acquire load in is_stopping().
        self.stop.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    pub(super) fn is_stopping(&self) -> bool {
        // SYNC: pairs with the Release store in ask_to_stop().
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the shard's nap. One system call while it naps, else about 10 ns.
    pub(crate) fn wake(&self) {
        self.doorbell.ring();
    }

    /// Ends the shard's nap, unless it is being woken already: usually just a load. Promises nothing of what the
    /// caller wrote before.
    pub(crate) fn nudge(&self) {
        if !self.doorbell.is_rung() {
            self.doorbell.ring();
        }
    }

    /// The bell, for the shard's thread to wait for.
    pub(super) fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// The shard's thread has heard the bell.
    pub(super) fn answer(&self) {
        if self.doorbell.is_rung() {
            self.doorbell.answer();
        }
    }
}
