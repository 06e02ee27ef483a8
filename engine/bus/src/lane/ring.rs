//! The memory of a lane, or of a part of its life: the ring of bytes, and after it the ring of lengths.
//!
//! Rules of the unsafe code of this module, of the writer and of the reader:
//! 1. [`lane`](super::lane) makes one writer and one reader per lane, and neither can be cloned.
//! 2. The writer writes only bytes from its own position up to `freed_bytes + capacity_bytes`, and length entries
//!    from its own index up to `freed + capacity_events`, both as loaded with Acquire, and only in the last ring.
//! 3. The reader reads only entries from its own index up to `published`, loaded with Acquire, and the bytes they
//!    cover, each in the ring that it was written in. What it hands out borrows it, so it cannot free what is still
//!    looked at.
//! 4. A range of bytes or entries never crosses the end of its ring: the writer skips, the reader stops there.
//! 5. The memory is handed out zeroed, so all of it is initialised.
//! 6. The writer reads length entries below `published`, too, and of an evicting lane the records from `freed` on:
//!    they are not written before they are freed. It moves `freed` of such a lane while it has the hold; the reader
//!    reads there while it has it.
//!
//! From 2, 3 and 6, with `freed <= read <= published <= written`, the two sides never write what the other touches.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::{self, NonNull};

use super::sync::{Arc, AtomicU64, Mutex, Ordering, Watch};
use super::{LaneOptions, UNIT_BYTES};
use crate::core::budget::MemoryShare;

const PAGE_BYTES: usize = 4096;
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Rings from this size on have a mapping of their own; smaller ones are the allocator's, because thousands of mappings
/// are more than the kernel lets a process have.
const MAPPED_BYTES: usize = 128 << 10;

/// Bytes that the prefetcher of x86 takes at a time: a ring that shared them with its neighbours would have them taken
/// by the other side.
const LINE_BYTES: usize = 128;

/// Both rings, in one piece of memory that is resident from the start.
#[derive(Debug)]
pub(super) struct Ring {
    start: NonNull<u8>,
    /// The start of the lengths.
    lengths: NonNull<u16>,
    options: LaneOptions,
    /// Entry index at which it ends: the records from there on are in the next ring. `u64::MAX` while it is the last.
    end: AtomicU64,
    next: Mutex<Option<Arc<Ring>>>,
    units: Watch,
    entries: Watch,
    _memory: MemoryShare,
}

// SAFETY: rules 1 to 3 keep the two sides on disjoint memory; the indices in `Numbers` order them.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// # Errors
    /// The kernel's.
    pub(super) fn new(options: LaneOptions, memory: MemoryShare) -> io::Result<Self> {
        let start = take(options.memory_bytes())?;
        let units = Watch::new(options.capacity_bytes / UNIT_BYTES);
        // SAFETY: the lengths follow the bytes in the mapping; `capacity_bytes` is even, so they are aligned.
        let lengths = unsafe { start.add(options.capacity_bytes) }.cast();
        let entries = Watch::new(options.capacity_events);
        let (end, next) = (AtomicU64::new(u64::MAX), Mutex::new(None));
        Ok(Self { start, lengths, options, end, next, units, entries, _memory: memory })
    }

    /// Ends the ring at this entry index, from which on records are in `next`.
    pub(super) fn end_at(&self, end: u64, next: Arc<Self>) {
        *self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(next);
        // SYNC: pairs with the Acquire load in end(): the next ring.
        self.end.store(end, Ordering::Release);
    }

    /// Entry index at which the ring ends. Read after `published`, a thread that sees an entry beyond it knows it.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        // SYNC: pairs with the Release store in end_at().
        self.end.load(Ordering::Acquire)
    }

    /// The ring after this one, once there is one.
    pub(super) fn next(&self) -> Option<Arc<Self>> {
        self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn options(&self) -> LaneOptions {
        self.options
    }

    /// Offset in the byte ring of a byte position.
    #[inline]
    pub(super) fn offset(&self, position: u64) -> usize {
        position as usize & (self.options.capacity_bytes - 1)
    }

    /// Slot in the ring of lengths of an entry index.
    #[inline]
    pub(super) fn slot(&self, index: u64) -> usize {
        index as usize & (self.options.capacity_events - 1)
    }

    /// Bytes from a byte position to the end of the byte ring, at least 1.
    #[inline]
    pub(super) fn bytes_to_end(&self, position: u64) -> usize {
        self.options.capacity_bytes - self.offset(position)
    }

    /// The bytes of a record to be written.
    ///
    /// # Safety
    /// Called by the writer, for bytes that rules 2 and 4 give it, of which it holds no other slice.
    #[inline]
    pub(super) unsafe fn bytes_mut(&self, offset: usize, length: usize) -> NonNull<[u8]> {
        debug_assert!(offset + length <= self.options.capacity_bytes, "rule 4");
        self.watch_write(offset, length);
        // SAFETY: rule 4: within the mapping.
        let first = unsafe { self.start.add(offset) };
        NonNull::slice_from_raw_parts(first, length)
    }

    /// The bytes of records to be read.
    ///
    /// # Safety
    /// Called for bytes that rules 3 and 4 give the reader, or 2 and 4 the writer, while the slice lives.
    #[inline]
    pub(super) unsafe fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        debug_assert!(offset + length <= self.options.capacity_bytes, "rule 4");
        self.watch_read(offset, length);
        // SAFETY: rule 4: within the mapping.
        let first = unsafe { self.start.add(offset) };
        // SAFETY: rules 3 and 5: initialised, and not written while the slice lives.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), length) }
    }

    /// Writes a length entry.
    ///
    /// # Safety
    /// Called by the writer, for an entry that rule 2 gives it; `slot` comes from [`Ring::slot`].
    #[inline]
    pub(super) unsafe fn set_length(&self, slot: usize, units: u16) {
        debug_assert!(slot < self.options.capacity_events, "rule 4");
        self.entries.write(slot..slot + 1);
        // SAFETY: rule 4: within the mapping.
        let entry = unsafe { self.lengths.add(slot) };
        // SAFETY: rule 2: the writer alone touches the entry.
        unsafe { entry.write(units) };
    }

    /// Length entries to be read.
    ///
    /// # Safety
    /// Called for entries that rules 3 and 4, or 6, give the caller while the slice lives.
    #[inline]
    pub(super) unsafe fn lengths(&self, slot: usize, count: usize) -> &[u16] {
        debug_assert!(slot + count <= self.options.capacity_events, "rule 4");
        self.entries.read(slot..slot + count);
        // SAFETY: rule 4: within the mapping.
        let first = unsafe { self.lengths.add(slot) };
        // SAFETY: rules 3 and 5: initialised, and not written while the slice lives.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), count) }
    }

    /// The calling thread has written these bytes, or is about to.
    #[inline(always)]
    pub(super) fn watch_write(&self, offset: usize, length: usize) {
        self.units.write(offset / UNIT_BYTES..(offset + length) / UNIT_BYTES);
    }

    /// The calling thread has read these bytes, or is about to.
    #[inline(always)]
    pub(super) fn watch_read(&self, offset: usize, length: usize) {
        self.units.read(offset / UNIT_BYTES..(offset + length) / UNIT_BYTES);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        give_back(self.start, self.options.memory_bytes());
    }
}

/// Fresh zeroed memory, resident.
fn take(length: usize) -> io::Result<NonNull<u8>> {
    if length >= MAPPED_BYTES {
        let start = map(length)?;
        return populate(start, length).map(|()| start).inspect_err(|_| give_back(start, length));
    }
    let layout = layout(length)?;
    // SAFETY: the layout is not empty: a lane has bytes. Memory that is so aligned is zeroed by writing to it.
    NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Gives back what [`take`] has given for this length, which nothing uses any more.
fn give_back(start: NonNull<u8>, length: usize) {
    if length >= MAPPED_BYTES {
        // SAFETY: mapped in `take` with this length. Unmapping a whole private mapping cannot fail in a way that there
        // is an answer to.
        unsafe { libc::munmap(start.as_ptr().cast(), length) };
    } else if let Ok(layout) = layout(length) {
        // SAFETY: allocated in `take` with this layout.
        unsafe { dealloc(start.as_ptr(), layout) };
    }
}

fn layout(length: usize) -> io::Result<Layout> {
    Layout::from_size_align(length, LINE_BYTES).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Fresh zeroed memory, page-aligned; at the start of a huge page where it is long enough to have one, so that a record
/// after the other does not cost a walk through the page table every 4 KiB.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    if length < HUGE_PAGE_BYTES {
        return map_anywhere(length);
    }
    let length = length.next_multiple_of(PAGE_BYTES);
    let start = map_anywhere(length + HUGE_PAGE_BYTES)?;
    let before = start.as_ptr().addr().next_multiple_of(HUGE_PAGE_BYTES) - start.as_ptr().addr();
    // SAFETY: within the mapping.
    let aligned = unsafe { start.add(before) };
    // SAFETY: within the mapping, or its end.
    let end = unsafe { aligned.add(length) };
    for (spare, bytes) in [(start, before), (end, HUGE_PAGE_BYTES - before)] {
        if bytes > 0 {
            // SAFETY: whole pages of the mapping that are not in use. If it fails they stay reserved, and cost no
            // memory.
            unsafe { libc::munmap(spare.as_ptr().cast(), bytes) };
        }
    }
    Ok(aligned)
}

fn map_anywhere(length: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory in use.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Makes the mapping resident, in huge pages where it is long enough and the kernel likes to.
fn populate(start: NonNull<u8>, length: usize) -> io::Result<()> {
    let address = start.as_ptr().cast();
    if length >= HUGE_PAGE_BYTES {
        // Before the first touch, or the memory is in small pages already. Advice: without it the lane works as well.
        // SAFETY: the whole mapping, which is not in use yet.
        unsafe { libc::madvise(address, length, libc::MADV_HUGEPAGE) };
    }
    // SAFETY: as above.
    if unsafe { libc::madvise(address, length, libc::MADV_POPULATE_WRITE) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    // Linux before 5.14 has no such advice: touch each page.
    for offset in (0..length).step_by(PAGE_BYTES) {
        // SAFETY: within the mapping.
        let byte = unsafe { start.add(offset) };
        // SAFETY: the mapping is not in use yet; volatile because the byte is zero already.
        unsafe { byte.write_volatile(0) };
    }
    Ok(())
}
