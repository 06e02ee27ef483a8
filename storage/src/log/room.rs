//! Room for windows: the memory that all windows of a log share, and the wait for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::format::BLOCK_BYTES_MAX;
use crate::lock::lock;

/// Bytes of a window for which there is always room.
pub(super) const SMALL_BYTES: usize = 16 << 10;

/// The memory of one log's windows.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: AtomicUsize,
    /// Bytes of all windows there are.
    live: AtomicUsize,
    /// Bytes of those that are read without room, small or of a large block: if they took room, there would be none
    /// while thousands of readers have one each, or a few a large one.
    apart: AtomicUsize,
    /// A wait was in vain, and there has been no room since: the next one would be, too.
    is_crowded: Mutex<bool>,
    freed: Condvar,
    /// The longest wait.
    patience: Duration,
}

impl Room {
    pub(super) fn new(bytes_max: usize, patience: Duration) -> Self {
        Self {
            bytes_max: AtomicUsize::new(bytes_max),
            live: AtomicUsize::new(0),
            apart: AtomicUsize::new(0),
            is_crowded: Mutex::new(false),
            freed: Condvar::new(),
            patience,
        }
    }

    pub(super) fn allow(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Returns whether a window of so many bytes has room.
    pub(super) fn has(&self, bytes: u64) -> bool {
        let taken = self.live().saturating_sub(self.apart.load(Ordering::Relaxed));
        taken as u64 + bytes <= self.bytes_max() as u64
    }

    /// As [`Room::has`], after a wait for readers to let go of what they hold.
    pub(super) fn wait_for(&self, bytes: u64) -> bool {
        if bytes > BLOCK_BYTES_MAX as u64 {
            // It takes none.
            return false;
        }
        let mut is_crowded = lock(&self.is_crowded);
        if !*is_crowded && bytes <= self.bytes_max() as u64 {
            let waited = self.freed.wait_timeout_while(is_crowded, self.patience, |_| !self.has(bytes));
            (is_crowded, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *is_crowded = !self.has(bytes);
        !*is_crowded
    }

    pub(super) fn take(&self, bytes: usize) {
        if is_apart(bytes) {
            self.apart.fetch_add(bytes, Ordering::Relaxed);
        }
        self.live.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        if is_apart(bytes) {
            self.live.fetch_sub(bytes, Ordering::Relaxed);
            self.apart.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        {
            // A thread that has looked and not begun to wait would miss this.
            let _is_crowded = lock(&self.is_crowded);
            self.live.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.freed.notify_all();
    }
}

fn is_apart(bytes: usize) -> bool {
    bytes <= SMALL_BYTES || bytes > BLOCK_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 10 * SMALL_BYTES;

    #[test]
    fn window_waits_until_another_is_let_go() {
        let room = Room::new(BYTES, Duration::MAX);
        room.take(BYTES - 1);
        room.take(SMALL_BYTES);
        assert!(room.wait_for(1));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| room.wait_for(2));
            room.give_back(BYTES - 1);
            assert!(waits.join().expect("ends"));
        });
        assert_eq!(room.live(), SMALL_BYTES);
    }

    #[test]
    fn readers_that_hold_all_are_not_waited_for_twice() {
        let mut room = Room::new(BYTES, Duration::ZERO);
        room.take(BYTES);
        assert!(!room.wait_for(1));
        room.patience = Duration::MAX;
        assert!(!room.wait_for(1));
        assert!(!room.wait_for(BYTES as u64 + 1), "there is never room for it");
        room.give_back(BYTES);
        assert!(room.wait_for(BYTES as u64) && !*lock(&room.is_crowded));
    }
}
