//! The primitives that loom replaces, so that its models run the shipped lane.

#[cfg(not(tapeline_loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(tapeline_loom))]
pub(super) use std::sync::{Arc, Mutex};

#[cfg(tapeline_loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(tapeline_loom)]
pub(super) use loom::sync::{Arc, Mutex};

use std::ops::Range;

/// The cheap side of a fence: keeps the compiler from moving accesses across it. The other side has every thread of the
/// process execute a fence (`membarrier`). loom has no such call, so in its models both sides are fences.
#[inline(always)]
pub(super) fn light_fence() {
    #[cfg(not(tapeline_loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(tapeline_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Nanoseconds; loom's models have no time.
pub(super) fn now() -> u64 {
    if cfg!(tapeline_loom) { 0 } else { tapeline_reader::timestamp::Clock::global().now() }
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
