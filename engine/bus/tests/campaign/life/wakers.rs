//! Wakers that panic, each at another of the calls that a bus makes to it.

#![allow(unsafe_code, reason = "RawWaker")]

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use tapeline_storage::device::sim::Random;

use crate::runner::ON_PURPOSE;

/// A call to a waker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Wake,
    Clone,
    Drop,
}

pub(crate) fn draw(random: &mut Random) -> Call {
    [Call::Wake, Call::Clone, Call::Drop][random.below(3) as usize]
}

/// Panics at each call, but for clones that went well before.
struct Cursed {
    call: Call,
    clones: AtomicU32,
}

/// Polls the future once with a waker that panics. A panic that the call itself ends with is the caller's own.
pub(crate) fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>, call: Call) {
    // Each bus may keep some of them for as long as it lives.
    let cursed: &'static Cursed = Box::leak(Box::new(Cursed { call, clones: AtomicU32::new(0) }));
    // SAFETY: the functions of the table take what they are given here, which lives for ever.
    let waker = std::mem::ManuallyDrop::new(unsafe { Waker::from_raw(raw(cursed)) });
    let _ = catch_unwind(AssertUnwindSafe(|| future.poll(&mut Context::from_waker(&waker)).is_ready()));
}

fn raw(cursed: &'static Cursed) -> RawWaker {
    static CALLS: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop_one);
    RawWaker::new(std::ptr::from_ref(cursed).cast(), &CALLS)
}

/// # Safety
/// The pointer is that of a [`Cursed`].
unsafe fn cursed(data: *const ()) -> &'static Cursed {
    // SAFETY: leaked, as `poll` does.
    unsafe { &*data.cast() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: as for each function of the table.
    let cursed = unsafe { cursed(data) };
    if cursed.clones.fetch_add(1, Ordering::SeqCst) > 0 {
        panic_at(cursed, Call::Clone);
    }
    raw(cursed)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: as for each function of the table.
    panic_at(unsafe { cursed(data) }, Call::Wake);
}

unsafe fn drop_one(data: *const ()) {
    // SAFETY: as for each function of the table.
    panic_at(unsafe { cursed(data) }, Call::Drop);
}

fn panic_at(cursed: &Cursed, call: Call) {
    // A second panic while one goes on would end the process, whichever code is at fault.
    if cursed.call == call && !std::thread::panicking() {
        panic_any(format!("{ON_PURPOSE}: a waker at {call:?}"));
    }
}
