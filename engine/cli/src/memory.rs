//! The program's memory: where the machine, or a limit (`ulimit -v`), has no more, the program ends with words.
//!
//! A large allocation that is refused is reported by its caller. For small ones, which all code takes for granted, the
//! allocator keeps a reserve: when one is refused the reserve is given up, [`is_short`] says so, and a recording ends
//! in good order. Where that does not help either, the standard library aborts, and the program says why.
//!
//! Unsafe code, with these rules:
//! 1. Each call of the allocator is passed on to the system's, with what the caller promises; what that returns is
//!    returned.
//! 2. The reserve is a mapping of its own that no code touches. The call that takes its address out of `RESERVE` unmaps
//!    it, and there is one such call.
//! 3. The handler of SIGABRT makes only calls that a handler may make.
//! 4. The calls that read a limit and set an option take plain values, and one pointer to a live one.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// The reserve. Code that ends a recording needs a part of it.
const RESERVE_BYTES: usize = 4 << 20;

/// Allocations from this size on are refused to their callers.
const LARGE_BYTES: usize = 64 << 10;

/// The words of the handler.
const EXHAUSTED: &[u8] = b"tapeline: memory is exhausted; free memory, or raise the limit (ulimit -v), and try again. \
What was acknowledged is in the log\n";

static RESERVE: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
static WAS_REFUSED: AtomicBool = AtomicBool::new(false);
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// The system's allocator, and the reserve.
struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

/// Has all threads share one arena where a limit counts addresses (`ulimit -v`): the system's allocator gives each
/// thread an arena of 64 MiB of addresses, which it hardly uses, and nothing else gets them.
pub(crate) fn share_one_arena_below_a_limit() {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: rule 4.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    if read == 0 && limit.rlim_cur != libc::RLIM_INFINITY {
        #[cfg(target_env = "gnu")]
        // SAFETY: rule 4.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Sets the reserve aside, and has the program say why where it ends for want of memory.
pub(crate) fn set_reserve_aside() {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory in use.
    let reserve = unsafe { libc::mmap(ptr::null_mut(), RESERVE_BYTES, protection, flags, -1, 0) };
    if reserve != libc::MAP_FAILED {
        RESERVE.store(reserve, Ordering::Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = explain_abort;
    // SAFETY: rule 3.
    unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
}

/// True once the reserve is given up: what was begun should be ended.
pub(crate) fn is_short() -> bool {
    IS_SHORT.load(Ordering::Relaxed)
}

/// Another try after a refusal, for an allocation of so many bytes.
#[cold]
fn retry(bytes: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
    WAS_REFUSED.store(true, Ordering::Relaxed);
    if bytes >= LARGE_BYTES {
        return ptr::null_mut();
    }
    IS_SHORT.store(true, Ordering::Relaxed);
    let reserve = RESERVE.swap(ptr::null_mut(), Ordering::Relaxed);
    if !reserve.is_null() {
        // SAFETY: rule 2.
        unsafe { libc::munmap(reserve, RESERVE_BYTES) };
    }
    allocate()
}

// SAFETY: rule 1.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: rule 1.
        let allocate = || unsafe { System.alloc(layout) };
        let start = allocate();
        if start.is_null() { retry(layout.size(), allocate) } else { start }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: rule 1.
        let allocate = || unsafe { System.alloc_zeroed(layout) };
        let start = allocate();
        if start.is_null() { retry(layout.size(), allocate) } else { start }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: rule 1; a refusal leaves the old allocation as it is.
        let allocate = || unsafe { System.realloc(start, layout, size) };
        let start = allocate();
        if start.is_null() { retry(size, allocate) } else { start }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: rule 1.
        unsafe { System.dealloc(start, layout) }
    }
}

/// Says why the program aborts and ends it with status 1, if memory was refused; else the abort goes on.
extern "C" fn explain_abort(_signal: libc::c_int) {
    if WAS_REFUSED.load(Ordering::Relaxed) {
        // SAFETY: rule 3; the bytes live for ever.
        unsafe { libc::write(libc::STDERR_FILENO, EXHAUSTED.as_ptr().cast(), EXHAUSTED.len()) };
        // SAFETY: rule 3; no other code of the program runs after this.
        unsafe { libc::_exit(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_allocations_are_refused_and_small_ones_get_the_reserve() {
        set_reserve_aside();
        assert!(!RESERVE.load(Ordering::Relaxed).is_null() && !is_short());
        let dangling = ptr::NonNull::dangling().as_ptr();
        assert!(retry(LARGE_BYTES, || dangling).is_null());
        assert!(!is_short() && !RESERVE.load(Ordering::Relaxed).is_null());
        assert_eq!(retry(LARGE_BYTES - 1, || dangling), dangling);
        assert!(is_short() && RESERVE.load(Ordering::Relaxed).is_null());
    }
}
