//! The primitives that loom replaces, so that its models run the shipped bell.

#[cfg(not(tapeline_loom))]
pub(super) use atomic_waker::AtomicWaker;
#[cfg(not(tapeline_loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(tapeline_loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// loom's, with the face of the shipped one.
#[cfg(tapeline_loom)]
#[derive(Debug)]
pub(super) struct AtomicWaker(loom::future::AtomicWaker);

#[cfg(tapeline_loom)]
impl AtomicWaker {
    pub(super) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }

    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.0.register_by_ref(waker);
    }

    pub(super) fn wake(&self) {
        self.0.wake();
    }
}
