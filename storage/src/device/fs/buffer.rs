//! Page-aligned memory between O_DIRECT and callers whose bytes lie anywhere.

use std::cell::RefCell;

use crate::format::{BLOCK_BYTES_MAX, PAGE_BYTES};

/// Bytes that are copied at a time.
pub(super) const BOUNCE_BYTES: usize = BLOCK_BYTES_MAX;

thread_local! {
    /// Kept, because fresh memory costs a page fault per page each time.
    static BOUNCE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Returns whether O_DIRECT can use the bytes as they lie.
pub(super) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(PAGE_BYTES) && bytes.len().is_multiple_of(PAGE_BYTES)
}

/// Lends `length` page-aligned bytes, at most [`BOUNCE_BYTES`], to `body`, which must not ask for more of them.
pub(super) fn with_bounce<T>(length: usize, body: impl FnOnce(&mut [u8]) -> T) -> T {
    debug_assert!(length <= BOUNCE_BYTES);
    BOUNCE.with_borrow_mut(|memory| {
        let needed = length + PAGE_BYTES - 1;
        if memory.len() < needed {
            // The next read overwrites the memory, so its content need not be kept. The allocator has zeros at no cost,
            // where a resize writes each byte in a build without optimisation.
            *memory = vec![0; needed];
        }
        let address = memory.as_ptr().addr();
        let start = address.next_multiple_of(PAGE_BYTES) - address;
        body(&mut memory[start..start + length])
    })
}
