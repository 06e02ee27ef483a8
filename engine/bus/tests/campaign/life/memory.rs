//! Memory that the C library's allocator has in stock, for when the kernel gives the process no more.
//!
//! Rust and the C library end a process whose allocator has nothing more. With a stock, a limit of the address space
//! refuses what may be refused: mappings of files, rings, blocks, and stacks of threads.

#![allow(unsafe_code, reason = "malloc, mmap")]

use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_void, off_t, size_t};

/// The allocator's settings: one heap for all threads, which keeps what it has once had.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
    // The most that it takes from its heap.
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
];

const STOCK_PARTS: usize = 8;
const PART_BYTES: usize = 30 << 20;

/// The standard library ends the process if it does not get this much for the signals of a new thread.
const SIGNALS_BYTES_MAX: usize = 64 << 10;
/// For the signals of so many threads that began while memory was short.
const SIGNALS_BYTES: usize = 16 << 20;

/// The start of the memory for signals, if there is some.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static USED: AtomicUsize = AtomicUsize::new(0);

/// Has the allocator lay in a stock, in a process that began with its [`SETTINGS`].
pub(crate) fn stock() {
    let parts: Vec<Vec<u8>> = (0..STOCK_PARTS).map(|_| Vec::with_capacity(PART_BYTES)).collect();
    drop(black_box(parts));
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, wherever the kernel likes.
    let start = unsafe { mmap(ptr::null_mut(), SIGNALS_BYTES, access, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "no memory for signals");
    SIGNALS.store(start as usize, Ordering::SeqCst);
}

/// Whole pages of the memory for signals, each handed out once.
fn for_signals(length: usize) -> Option<*mut c_void> {
    const PAGE: usize = 4096;
    let signals = SIGNALS.load(Ordering::SeqCst);
    let take = |used: usize| Some(used + length.next_multiple_of(PAGE)).filter(|end| *end <= SIGNALS_BYTES);
    let used = USED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
    (signals != 0).then(|| ptr::with_exposed_provenance_mut(signals + used))
}

/// In the place of the C library's, for the calls of this program. What the standard library needs for a thread's
/// signals comes from memory set aside where the kernel refuses it.
///
/// # Safety
/// As mmap's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    start: *mut c_void,
    length: size_t,
    access: c_int,
    flags: c_int,
    file: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: as the caller promises.
    let mapped = unsafe { libc::syscall(libc::SYS_mmap, start, length, access, flags, file, offset) };
    let is_for_signals = flags & libc::MAP_ANONYMOUS != 0 && length <= SIGNALS_BYTES_MAX;
    if mapped == -1 && is_for_signals {
        return for_signals(length).unwrap_or(libc::MAP_FAILED);
    }
    ptr::with_exposed_provenance_mut(mapped as usize)
}

/// As [`mmap`].
///
/// # Safety
/// As mmap's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    start: *mut c_void,
    length: size_t,
    access: c_int,
    flags: c_int,
    file: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: as the caller promises.
    unsafe { mmap(start, length, access, flags, file, offset) }
}
