//! The health of a log: the error that ended it, the errors that it goes on after, and whether its disk is full.
//!
//! The first error that ends a log stays; no later one takes its place.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::trouble::{Answer, Trouble, Troubles};
use crate::device::advice;
use crate::format::Sequence;

/// The first error that ended a log's writing.
///
/// ```
/// # use tapeline_storage::format::Sequence;
/// # use tapeline_storage::log::Poison;
/// # let (operation, place, message) = ("write", "00000000000000000000.seg".into(), "no space is left".into());
/// # let poison = Poison { shard_id: 0, operation, place, errno: Some(28), message, durable: Sequence::new(42) };
/// if poison.is_for_want_of_space() {
///     println!("make room, then open the bus again: nothing up to sequence {} is lost", poison.durable);
/// }
/// # assert!(poison.is_for_want_of_space());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "shard {shard_id}: {operation} failed at {place}: {message}; nothing after sequence {durable} is acknowledged{}",
    errno.map_or("", |errno| advice(&io::Error::from_raw_os_error(errno)))
)]
pub struct Poison {
    /// The shard.
    pub shard_id: u16,
    /// The call that failed.
    pub operation: &'static str,
    /// Segment and offset.
    pub place: String,
    /// The kernel's error number, where there is one.
    pub errno: Option<i32>,
    /// The error in words.
    pub message: String,
    /// The durable watermark, which stays.
    pub durable: Sequence,
}

impl Poison {
    /// Returns whether the log ended because its disk had no space for events that it had taken. A log that goes on
    /// meets a full disk with patience.
    pub fn is_for_want_of_space(&self) -> bool {
        self.errno == Some(libc::ENOSPC)
    }
}

/// The space on the disk of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// None is left.
    Full,
    /// Some is, as far as the log knows.
    Left,
}

/// The errors of a log. Its thread notes them, and others read them.
#[derive(Debug, Default)]
pub(super) struct Health {
    full: AtomicBool,
    poison: OnceLock<Poison>,
    troubles: Troubles,
}

impl Health {
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(super) fn set_space(&self, space: Space) {
        self.full.store(space == Space::Full, Ordering::Relaxed);
    }

    pub(super) fn poison(&self) -> Option<&Poison> {
        self.poison.get()
    }

    /// Ends the log, unless an earlier error has.
    pub(super) fn set_poison(&self, poison: Poison) {
        let _ = self.poison.set(poison);
    }

    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.troubles.all()
    }

    /// The trouble that keeps the log from writing, if one does and it is not a full disk. A lock.
    pub(super) fn shortage(&self) -> Option<Trouble> {
        self.troubles.hold_up().filter(|_| !self.is_full())
    }

    /// Notes that this operation keeps the log from writing, or that none does.
    pub(super) fn set_hold_up(&self, operation: Option<&'static str>) {
        self.troubles.set_hold_up(operation);
    }

    /// An operation has failed, and is tried again or done without.
    pub(super) fn add_trouble(&self, operation: &'static str, place: String, error: &io::Error, answer: Answer) {
        self.troubles.add(operation, place, error, answer);
    }

    /// An operation has succeeded.
    pub(super) fn end_trouble(&self, operation: &str) {
        self.troubles.end(operation);
    }
}
