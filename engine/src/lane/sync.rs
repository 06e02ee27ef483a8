//! The primitives that loom replaces, so that its models run the shipped lane.

#[cfg(not(tapeline_loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};
#[cfg(not(tapeline_loom))]
pub(super) use std::sync::{Arc, Mutex};

#[cfg(tapeline_loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(tapeline_loom)]
pub(super) use loom::sync::{Arc, Mutex};
/// What binds the compiler alone; loom has none.
#[cfg(tapeline_loom)]
pub(super) use std::sync::atomic::compiler_fence;

use std::ops::Range;

/// Nanoseconds; loom's models have no time.
pub(super) fn now() -> u64 {
    if cfg!(tapeline_loom) { 0 } else { crate::timestamp::Clock::global().now() }
}

/// Tells loom who touches which piece of plain memory, so that it finds a race; nothing at all without loom.
#[derive(Debug)]
pub(super) struct Watch {
    #[cfg(tapeline_loom)]
    pieces: Box<[loom::cell::UnsafeCell<()>]>,
}

#[cfg(not(tapeline_loom))]
impl Watch {
    /// Watches `_pieces` pieces.
    pub(super) fn new(_pieces: usize) -> Self {
        Self {}
    }

    /// These pieces are read by the calling thread.
    #[inline(always)]
    pub(super) fn read(&self, _pieces: Range<usize>) {}

    /// These pieces are written by the calling thread.
    #[inline(always)]
    pub(super) fn write(&self, _pieces: Range<usize>) {}
}

#[cfg(tapeline_loom)]
impl Watch {
    pub(super) fn new(pieces: usize) -> Self {
        Self { pieces: (0..pieces).map(|_| loom::cell::UnsafeCell::new(())).collect() }
    }

    pub(super) fn read(&self, pieces: Range<usize>) {
        self.pieces[pieces].iter().for_each(|piece| piece.with(|_| ()));
    }

    pub(super) fn write(&self, pieces: Range<usize>) {
        self.pieces[pieces].iter().for_each(|piece| piece.with_mut(|_| ()));
    }
}
