//! Memory of one block: written once by its shard, read by the device and by readers on other threads meanwhile.
//!
//! Layout: [`BlockMemory::BLOCK_BYTES`] of the block as it goes to disk, then the length column while it grows (it
//! moves to the end of the records when the block is closed). The memory of a large block is as long as its one record
//! needs, and has a column of one entry.
//!
//! Rules of the unsafe code here:
//! 1. One [`BlockWriter`] exists per memory; only it writes, and only while it is the open block or being closed.
//! 2. Bytes of records below `visible` and their column entries are frozen: the writer never touches them again.
//! 3. Readers touch nothing but what rule 2 freezes. The device reads the block after it was closed.
//! 4. The writer takes memory back into use only when no reader or device holds it (`Arc::get_mut`).

#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::format::{
    BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, PAGE_BYTES, RECORD_ALIGN, RECORD_ROOT_BYTES, Records, Sequence, block_bytes,
    column_bytes, units_of,
};

/// Page-aligned memory of one block, shared between its writer, the device and readers.
#[derive(Debug)]
pub struct BlockMemory {
    start: NonNull<u8>,
    /// Bytes of the block as it goes to disk; the growing column follows.
    block_bytes: usize,
    first_sequence: AtomicU64,
    /// Smallest and largest timestamp of what was appended, perhaps of what is not visible yet.
    first_timestamp: AtomicU64,
    last_timestamp: AtomicU64,
    /// Records in the high half, bytes of records in the low half.
    visible: AtomicU64,
    /// The id under which the device has registered this memory; 0 for none. It lives and dies with the memory: fresh
    /// memory at the same address is not what the kernel has registered.
    registration: AtomicU64,
    /// Readers to whom it is lent.
    holders: AtomicUsize,
    /// Of a large block.
    share: Option<Box<dyn MemoryGuard>>,
}

/// A share of some budget of memory, given back when it is dropped.
pub trait MemoryGuard: fmt::Debug + Send + Sync {}

impl MemoryGuard for () {}

// SAFETY: rules 1 to 3 keep the writer and all readers on disjoint bytes; `visible` orders them.
unsafe impl Send for BlockMemory {}
// SAFETY: as above.
unsafe impl Sync for BlockMemory {}

impl BlockMemory {
    /// Bytes of the block as it goes to disk.
    pub const BLOCK_BYTES: usize = BLOCK_BYTES_MAX;

    /// Most records a block can hold.
    pub const RECORDS_MAX: usize = (BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES) / (RECORD_ROOT_BYTES + size_of::<u16>());

    fn new() -> io::Result<Self> {
        Self::of(Self::BLOCK_BYTES, None)
    }

    /// Of a block of so many bytes; a large one has a share of the memory that such blocks may take.
    fn of(block_bytes: usize, share: Option<Box<dyn MemoryGuard>>) -> io::Result<Self> {
        let bytes = Self::bytes(block_bytes, if share.is_some() { 1 } else { Self::RECORDS_MAX });
        let start = map(bytes)?;
        if share.is_some() {
            prefer_huge_pages(start, bytes);
        }
        let zero = || AtomicU64::new(0);
        Ok(Self {
            start,
            block_bytes,
            share,
            first_sequence: zero(),
            first_timestamp: zero(),
            last_timestamp: zero(),
            visible: zero(),
            registration: zero(),
            holders: AtomicUsize::new(0),
        })
    }

    /// Bytes of the memory of a block for so many records.
    const fn bytes(block_bytes: usize, records: usize) -> usize {
        (block_bytes + column_bytes(records)).next_multiple_of(PAGE_BYTES)
    }

    /// Returns whether it holds one record that has it for itself, and is not to be filled again.
    pub fn is_large(&self) -> bool {
        self.share.is_some()
    }

    /// Bytes of the block as it goes to disk, at most.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The number of readers it is lent to. The log's lending alone changes it.
    pub(crate) fn holders(&self) -> &AtomicUsize {
        &self.holders
    }

    /// Address of the block, for the kernel.
    pub(crate) fn address(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// The id that [`BlockMemory::set_registration`] was last given, or 0.
    pub(crate) fn registration(&self) -> u64 {
        self.registration.load(Ordering::Relaxed)
    }

    /// Remembers the device's name for this memory, which is not 0. Only the thread of that device looks at it.
    pub(crate) fn set_registration(&self, registration: u64) {
        self.registration.store(registration, Ordering::Relaxed);
    }

    /// The block's bytes as they go to disk. Only a device that was handed the closed block may call it (rule 3).
    pub(crate) fn closed_bytes(&self, length: usize) -> &[u8] {
        assert!(length <= self.block_bytes, "the block has at most {} bytes", self.block_bytes);
        // SAFETY: rule 3; the length lies in the allocation.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }

    /// Sequence of the first record.
    pub fn first_sequence(&self) -> Sequence {
        Sequence::new(self.first_sequence.load(Ordering::Relaxed))
    }

    /// No visible record is earlier than the first or later than the second: nanoseconds since the Unix epoch. Asked
    /// for after [`BlockMemory::visible`].
    pub fn times(&self) -> (u64, u64) {
        (self.first_timestamp.load(Ordering::Relaxed), self.last_timestamp.load(Ordering::Relaxed))
    }

    /// Records that readers may look at: how many, and their bytes.
    pub fn visible(&self) -> (usize, usize) {
        // SYNC: pairs with the Release store in BlockWriter::publish; what it counts is frozen by then.
        let visible = self.visible.load(Ordering::Acquire);
        ((visible >> 32) as usize, (visible & u64::from(u32::MAX)) as usize)
    }

    /// Records `from..to` (counted in the block), which start at byte `offset` of the records and end at `end`.
    /// All four numbers come from [`BlockMemory::visible`] and walks below it.
    ///
    /// # Panics
    /// If the range is not visible.
    pub fn records(&self, from: usize, to: usize, offset: usize, end: usize) -> Records<'_> {
        let (count, bytes) = self.visible();
        assert!(from <= to && to <= count && offset <= end && end <= bytes, "records are not visible");
        // SAFETY: rule 2 freezes these bytes; they lie in the allocation because `visible` does.
        let records = unsafe { self.slice(BLOCK_HEADER_BYTES + offset, end - offset) };
        // SAFETY: rule 2, likewise.
        let column = unsafe { self.slice(self.block_bytes + column_bytes(from), column_bytes(to - from)) };
        Records::new(records, column)
    }

    /// Bytes of the first `count` records, which are visible.
    ///
    /// # Panics
    /// If they are not visible.
    pub fn bytes_of(&self, count: usize) -> usize {
        let visible = self.visible();
        assert!(count <= visible.0, "records are not visible");
        if count == visible.0 {
            return visible.1;
        }
        // SAFETY: rule 2 freezes these entries.
        let column = unsafe { self.slice(self.block_bytes, column_bytes(count)) };
        let units =
            column.chunks_exact(size_of::<u16>()).map(|unit| usize::from(u16::from_le_bytes([unit[0], unit[1]])));
        units.sum::<usize>() * RECORD_ALIGN
    }

    /// The place of the record of this sequence, or of the next one, if the records before it are visible: counted in
    /// the block, and in bytes.
    pub(crate) fn offset_of(&self, sequence: Sequence) -> Option<(usize, usize)> {
        let count = usize::try_from(sequence.get().checked_sub(self.first_sequence().get())?).ok()?;
        (count <= self.visible().0).then(|| (count, self.bytes_of(count)))
    }

    /// The record, counted in the block, at which `most` bytes of records from record `from` at byte `offset` on are
    /// reached, at least one later, and its byte; `visible` where there are fewer.
    ///
    /// # Panics
    /// If the records up to `visible`, as [`BlockMemory::visible`] gave it, are not visible.
    pub(crate) fn stretch(
        &self,
        (from, offset): (usize, usize),
        visible: (usize, usize),
        most: usize,
    ) -> (usize, usize) {
        let (count, bytes) = visible;
        if bytes - offset <= most {
            return visible;
        }
        assert!(from <= count && count <= self.visible().0, "records are not visible");
        // SAFETY: rule 2 freezes these entries.
        let column = unsafe { self.slice(self.block_bytes + column_bytes(from), column_bytes(count - from)) };
        let (mut to, mut end) = (from, offset);
        for unit in column.chunks_exact(size_of::<u16>()) {
            let next = end + usize::from(u16::from_le_bytes([unit[0], unit[1]])) * RECORD_ALIGN;
            if to > from && next - offset > most {
                break;
            }
            (to, end) = (to + 1, next);
        }
        // The column does not state the length of a large record, which is the only one.
        if to == count { visible } else { (to, end) }
    }

    /// # Safety
    /// The bytes lie in the allocation and are not written while the slice lives.
    unsafe fn slice(&self, at: usize, length: usize) -> &[u8] {
        // SAFETY: the caller's promise.
        let start = unsafe { self.start.add(at) };
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }
}

impl Drop for BlockMemory {
    fn drop(&mut self) {
        let bytes = Self::bytes(self.block_bytes, if self.is_large() { 1 } else { Self::RECORDS_MAX });
        // SAFETY: mapped in `of` with this length, and the last holder is gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
    }
}

/// Fresh zeroed pages, untouched until they are used.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    #[cfg(test)]
    scarcity::check()?;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory in use.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    match NonNull::new(start.cast::<u8>()) {
        Some(start) if start.as_ptr().cast::<libc::c_void>() != libc::MAP_FAILED => Ok(start),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks for huge pages, of which there are fewer to touch and to free by a factor of 512. A hint: without them it works
/// as well.
fn prefer_huge_pages(start: NonNull<u8>, length: usize) {
    // SAFETY: the mapping is this process's own, and the advice changes none of its bytes.
    let _ = unsafe { libc::madvise(start.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
}

/// Memory that runs out when a test says so, on the test's own thread.
#[cfg(test)]
pub(crate) mod scarcity {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static IS_HERE: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn begin() {
        IS_HERE.set(true);
    }

    pub(crate) fn end() {
        IS_HERE.set(false);
    }

    pub(super) fn check() -> io::Result<()> {
        if IS_HERE.get() { Err(io::Error::from_raw_os_error(libc::ENOMEM)) } else { Ok(()) }
    }
}

/// The one writer of a block's memory.
#[derive(Debug)]
pub struct BlockWriter {
    memory: Arc<BlockMemory>,
    count: usize,
    records_bytes: usize,
}

impl BlockWriter {
    /// A writer over fresh memory.
    ///
    /// # Errors
    /// The kernel's, where it has none.
    pub fn new() -> io::Result<Self> {
        Ok(Self { memory: Arc::new(BlockMemory::new()?), count: 0, records_bytes: 0 })
    }

    /// A writer over fresh memory for one record of so many bytes, which has a block for itself.
    ///
    /// # Errors
    /// The kernel's, where it has no memory.
    pub(crate) fn large(record_bytes: usize, share: Box<dyn MemoryGuard>) -> io::Result<Self> {
        let memory = BlockMemory::of(block_bytes(1, record_bytes), Some(share))?;
        Ok(Self { memory: Arc::new(memory), count: 0, records_bytes: 0 })
    }

    /// The memory of the record of a large block, which is its own writer's until it is published. Its first bytes are
    /// to be written before the block is started.
    ///
    /// # Panics
    /// If records were appended, or it is no large block or a shorter one.
    pub(crate) fn large_record(&mut self, record_bytes: usize) -> &mut [u8] {
        let is_whole = self.memory.block_bytes == block_bytes(1, record_bytes);
        assert!(self.count == 0 && self.memory.is_large() && is_whole, "no record of a large block");
        // SAFETY: rules 1 and 2: nothing is visible, and the block has room for the record.
        unsafe { self.slice_mut(BLOCK_HEADER_BYTES, record_bytes) }
    }

    /// Appends the record that was written to [`BlockWriter::large_record`].
    pub(crate) fn append_large(&mut self, record_bytes: usize) {
        let _ = self.large_record(record_bytes);
        let column = self.memory.block_bytes;
        // SAFETY: rules 1 and 2: the one entry of the column, which is not visible.
        let entry = unsafe { self.slice_mut(column, column_bytes(1)) };
        entry.copy_from_slice(&units_of(record_bytes).to_le_bytes());
        (self.count, self.records_bytes) = (1, record_bytes);
    }

    /// Takes memory back into use, or gives it back while another reference to it exists.
    ///
    /// # Errors
    /// The memory, still shared.
    pub fn reuse(mut memory: Arc<BlockMemory>) -> Result<Self, Arc<BlockMemory>> {
        match Arc::get_mut(&mut memory) {
            Some(_) => Ok(Self { memory, count: 0, records_bytes: 0 }),
            None => Err(memory),
        }
    }

    /// Starts the block at `first`. Nothing was appended before.
    pub fn start(&mut self, first: Sequence) {
        debug_assert_eq!(self.count, 0);
        self.memory.first_sequence.store(first.get(), Ordering::Relaxed);
        self.set_times(u64::MAX, 0);
        self.memory.visible.store(0, Ordering::Relaxed);
    }

    /// The memory, for readers and the device.
    pub fn memory(&self) -> &Arc<BlockMemory> {
        &self.memory
    }

    /// The memory, without its writer.
    pub(crate) fn into_memory(self) -> Arc<BlockMemory> {
        self.memory
    }

    /// Tells readers the range of times of what was appended; comes before it is published.
    pub fn set_times(&self, first: u64, last: u64) {
        self.memory.first_timestamp.store(first, Ordering::Relaxed);
        self.memory.last_timestamp.store(last, Ordering::Relaxed);
    }

    /// Records appended.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the records appended.
    pub fn records_bytes(&self) -> usize {
        self.records_bytes
    }

    /// Counts the records described by `lengths` (units of 16 bytes) that still fit a block of `block_bytes`. Returns
    /// the count and their bytes.
    pub fn fitting(&self, lengths: &[u16], block_bytes: usize) -> (usize, usize) {
        let room = self.room(block_bytes);
        let (mut taken, mut bytes) = (0, 0);
        for &length in lengths {
            let next = bytes + usize::from(length) * RECORD_ALIGN;
            if next + column_bytes(taken + 1) > room {
                break;
            }
            (taken, bytes) = (taken + 1, next);
        }
        (taken, bytes)
    }

    /// Returns whether so many records of so many bytes still fit a block of `block_bytes`.
    pub fn has_room(&self, records: usize, bytes: usize, block_bytes: usize) -> bool {
        bytes + column_bytes(records) <= self.room(block_bytes)
    }

    fn room(&self, block_bytes: usize) -> usize {
        block_bytes.saturating_sub(BLOCK_HEADER_BYTES + self.records_bytes + column_bytes(self.count))
    }

    /// Copies a run of records and their lengths in. One pass; the caller asked [`BlockWriter::fitting`] first.
    ///
    /// # Panics
    /// If the run does not fit.
    pub fn append(&mut self, records: &[u8], lengths: &[u16]) {
        let needed = records.len() + column_bytes(lengths.len());
        let has_room = !self.memory.is_large() && needed <= self.room(BlockMemory::BLOCK_BYTES);
        assert!(has_room, "the run does not fit the block");
        let at = BLOCK_HEADER_BYTES + self.records_bytes;
        // SAFETY: rules 1 and 2: these bytes are beyond `visible`; the assertion keeps them in the allocation.
        unsafe { self.slice_mut(at, records.len()) }.copy_from_slice(records);
        let column = BlockMemory::BLOCK_BYTES + column_bytes(self.count);
        // SAFETY: as above, in the column.
        let entries = unsafe { self.slice_mut(column, column_bytes(lengths.len())) };
        for (entry, length) in entries.chunks_exact_mut(size_of::<u16>()).zip(lengths) {
            entry.copy_from_slice(&length.to_le_bytes());
        }
        self.count += lengths.len();
        self.records_bytes += records.len();
    }

    /// Lets readers see everything appended so far.
    pub fn publish(&self) {
        let visible = (self.count as u64) << 32 | self.records_bytes as u64;
        // SYNC: pairs with the Acquire load in BlockMemory::visible.
        self.memory.visible.store(visible, Ordering::Release);
    }

    /// Record bytes `from..to`, for the checksum.
    ///
    /// # Panics
    /// If the range was not appended.
    pub fn appended(&self, from: usize, to: usize) -> &[u8] {
        assert!(from <= to && to <= self.records_bytes, "not appended");
        // SAFETY: only the writer writes, and it is borrowed.
        unsafe { self.memory.slice(BLOCK_HEADER_BYTES + from, to - from) }
    }

    /// Moves the column to the end of the records and zeroes the padding. Returns the bytes of the finished block.
    pub fn close(&mut self) -> usize {
        let column = column_bytes(self.count);
        // SAFETY: the growing column lies after the block and is not written here.
        let entries = unsafe { self.memory.slice(self.memory.block_bytes, column) }.as_ptr();
        let end = BLOCK_HEADER_BYTES + self.records_bytes;
        let block_bytes = (end + column).next_multiple_of(PAGE_BYTES);
        // SAFETY: rules 1 and 2: after the last record, within the block because `append` keeps room for the column.
        let tail = unsafe { self.slice_mut(end, block_bytes - end) };
        // SAFETY: `entries` has `column` bytes and lies outside of `tail`, which is at least as long.
        unsafe { std::ptr::copy_nonoverlapping(entries, tail.as_mut_ptr(), column) };
        tail[column..].fill(0);
        block_bytes
    }

    /// The bytes that [`BlockWriter::close`] put after the records, for the checksum.
    pub fn closed_tail(&self, block_bytes: usize) -> &[u8] {
        &self.memory.closed_bytes(block_bytes)[BLOCK_HEADER_BYTES + self.records_bytes..]
    }

    /// The first page, for the header. Readers never look at header bytes (rule 3).
    pub fn header_mut(&mut self) -> &mut [u8] {
        // SAFETY: rule 1; readers look at record bytes only, the device gets the block later.
        unsafe { self.slice_mut(0, BLOCK_HEADER_BYTES) }
    }

    /// Uses the memory for a plain page instead of a block, before anything was appended. Returns its length.
    ///
    /// # Panics
    /// If records were appended, or the page is longer than a block.
    pub fn fill_page(&mut self, page: &[u8]) -> usize {
        assert!(self.count == 0 && page.len() <= BlockMemory::BLOCK_BYTES, "the memory holds records");
        // SAFETY: rule 1, and nothing is visible.
        unsafe { self.slice_mut(0, page.len()) }.copy_from_slice(page);
        page.len()
    }

    /// # Safety
    /// The bytes lie in the allocation, beyond what is visible.
    unsafe fn slice_mut(&mut self, at: usize, length: usize) -> &mut [u8] {
        // SAFETY: the caller's promise.
        let start = unsafe { self.memory.start.add(at) };
        // SAFETY: the caller's promise, and rule 1: this is the only writer, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), length) }
    }
}
