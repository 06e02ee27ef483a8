//! Descriptors that a forked child must not keep: it shares open files with its parent, and would hold the parent's
//! locks and rings for as long as it lives. The child closes them before `fork` returns there.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::thread;

use super::call;

/// No descriptor.
const NONE: RawFd = -1;

/// A descriptor of this process alone: a forked child closes it. In this process its owner does.
#[derive(Debug)]
pub(in crate::device) struct OwnDescriptor {
    held: &'static Held,
}

impl OwnDescriptor {
    /// Opens something, which `descriptor` belongs to. No fork comes between the opening and the listing: a child would
    /// not know what to close.
    ///
    /// # Errors
    /// Those of `open`.
    pub(in crate::device) fn open<T>(
        open: impl FnOnce() -> io::Result<T>,
        descriptor: impl FnOnce(&T) -> RawFd,
    ) -> io::Result<(Self, T)> {
        watch_forks();
        let own = Self { held: Held::free() };
        let _no_fork = NoFork::begin();
        let opened = open()?;
        own.held.descriptor.store(descriptor(&opened), Ordering::Relaxed);
        Ok((own, opened))
    }

    /// Its number; none that is open, in a forked child and once it was closed.
    pub(in crate::device) fn number(&self) -> RawFd {
        self.held.descriptor.load(Ordering::Relaxed)
    }

    /// Closes it, once.
    pub(super) fn close(&self) {
        let _no_fork = NoFork::begin();
        self.held.close();
    }
}

impl Drop for OwnDescriptor {
    fn drop(&mut self) {
        let _no_fork = NoFork::begin();
        self.held.descriptor.store(NONE, Ordering::Relaxed);
        self.held.is_free.store(true, Ordering::Release);
    }
}

/// A descriptor in the list that a forked child walks: entries are used again, never freed.
#[derive(Debug)]
struct Held {
    /// [`NONE`]: closed, or not open yet. In a child it may be closed while its owner still lives.
    descriptor: AtomicI32,
    is_free: AtomicBool,
    next: AtomicPtr<Held>,
}

static FIRST: AtomicPtr<Held> = AtomicPtr::new(ptr::null_mut());

impl Held {
    /// An entry that none uses.
    fn free() -> &'static Self {
        let taken =
            |held: &&Self| held.is_free.compare_exchange(true, false, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if let Some(held) = Self::all().find(taken) {
            return held;
        }
        let made: &'static mut Self = Box::leak(Box::new(Self {
            descriptor: AtomicI32::new(NONE),
            is_free: AtomicBool::new(false),
            next: AtomicPtr::new(FIRST.load(Ordering::Acquire)),
        }));
        let made = &raw mut *made;
        // SAFETY: made from a leaked box, which nothing changes but through its atomics.
        #[allow(unsafe_code)]
        let held: &'static Self = unsafe { &*made };
        loop {
            let next = held.next.load(Ordering::Relaxed);
            // SYNC: pairs with the Acquire loads in all().
            match FIRST.compare_exchange(next, made, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return held,
                Err(first) => held.next.store(first, Ordering::Relaxed),
            }
        }
    }

    /// Every entry. Safe to call from a forked child: atomics only.
    fn all() -> impl Iterator<Item = &'static Self> {
        // SAFETY: the list holds leaked entries only, each whole before it was linked.
        #[allow(unsafe_code)]
        let at = |entry: &AtomicPtr<Self>| unsafe { entry.load(Ordering::Acquire).as_ref() };
        std::iter::successors(at(&FIRST), move |held| at(&held.next))
    }

    /// Closes the descriptor, once.
    fn close(&self) {
        let descriptor = self.descriptor.swap(NONE, Ordering::Relaxed);
        if descriptor != NONE {
            call::close(descriptor);
        }
    }
}

/// Set while such a descriptor is being opened or closed, and while the process forks: neither begins during the other.
static OPENING: AtomicBool = AtomicBool::new(false);

struct NoFork;

impl NoFork {
    fn begin() -> Self {
        seize();
        Self
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        release();
    }
}

fn seize() {
    while OPENING.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        thread::yield_now();
    }
}

extern "C" fn before_fork() {
    seize();
}

extern "C" fn release() {
    OPENING.store(false, Ordering::Release);
}

/// Closes every such descriptor in the child. Atomics and `close` alone, which are allowed there.
extern "C" fn in_child() {
    Held::all().for_each(Held::close);
    release();
}

/// Has every later fork close them in its child.
#[allow(unsafe_code)]
fn watch_forks() {
    static WATCHES: AtomicBool = AtomicBool::new(false);
    // No `Once`: a child that was forked in its midst would wait for ever.
    if WATCHES.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: the handlers are functions of this program, and do what a forked child may do. The call fails only for
    // want of memory; children then keep them.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(release), Some(in_child)) };
}
