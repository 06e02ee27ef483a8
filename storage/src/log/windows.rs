//! Windows: parts of files that blocks come to, read in large steps and shared between readers.
//!
//! A file that is being written is not mapped, and its blocks may be small. So a reader reads a window of it, with all
//! blocks in it, past the page cache; the next blocks, and other readers, find it in memory. One reader alone reads a
//! window, the others wait for it. A reader that must not block its thread has a [`Loader`] read it, and is woken.
//!
//! In bounded memory: half of it are windows that are kept, the least recently used go first. While readers hold the
//! other half, a loader's thread waits until they let go: thousands of readers with a small window each read far more
//! often. Where they do not let go, a window is only as large as its first block needs. So it is at once for a reader
//! that reads on its own thread.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::room::{Room, SMALL_BYTES};
use super::{LogMemory, Segment};
use crate::device::AlignedBytes;
use crate::format::{BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, PAGE_BYTES};
use crate::lock::lock;

/// Bytes from the beginning of one window to that of the next.
const STRIDE_BYTES: u64 = 256 << 10;

/// Bytes of the next window that a window has as well: a block of that size is whole in the one that it begins in.
const OVERLAP_BYTES: u64 = 32 << 10;

/// The time after which a loader's thread does not wait for readers that hold all memory.
const PATIENCE: Duration = Duration::from_millis(100);

/// A part of a segment's file in memory.
#[derive(Debug)]
pub(crate) struct Window {
    epoch: Epoch,
    /// The part of the file; a file that was cut off has less of it.
    part: Range<u64>,
    bytes: AlignedBytes,
    /// A bit for each page where a checked block starts.
    checked: Box<[AtomicU64]>,
    room: Arc<Room>,
}

/// A block as a window has it.
#[derive(Debug)]
pub(crate) enum BlockIn {
    Whole(BlockHeader),
    /// The block ends so many bytes after its beginning, outside of the window.
    Cut(u64),
    Damaged(BlockError),
}

impl Window {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its bytes from an offset in the file on.
    pub(crate) fn bytes_from(&self, offset: u64) -> &[u8] {
        let at = offset.checked_sub(self.part.start).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.as_slice().get(at..)).unwrap_or_default()
    }

    /// Returns whether it is too long to be kept: a large block's.
    pub(crate) fn is_of_large_block(&self) -> bool {
        self.bytes.as_slice().len() > BLOCK_BYTES_MAX
    }

    /// Looks at the block at an offset of the file. Costs one checksum pass the first time.
    pub(crate) fn block(&self, offset: u64) -> BlockIn {
        let bytes = self.bytes_from(offset);
        let header = match BlockView::of_checked(bytes, self.epoch) {
            Ok(view) => *view.header(),
            Err(BlockError::Short { needed, .. }) => return BlockIn::Cut(needed as u64),
            Err(error) => return BlockIn::Damaged(error),
        };
        let page = (offset - self.part.start) as usize / PAGE_BYTES;
        let (word, bit) = (page / 64, 1 << (page % 64));
        if self.checked[word].load(Ordering::Relaxed) & bit != 0 {
            return BlockIn::Whole(header);
        }
        match BlockView::check(bytes, self.epoch) {
            Ok(view) => {
                self.checked[word].fetch_or(bit, Ordering::Relaxed);
                BlockIn::Whole(*view.header())
            }
            Err(error) => BlockIn::Damaged(error),
        }
    }

    /// Returns whether it was read for this part of the segment.
    pub(crate) fn has(&self, segment: &Segment, part: &Range<u64>) -> bool {
        self.epoch == segment.epoch() && self.part.start <= part.start && part.end <= self.part.end
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.room.give_back(self.bytes.as_slice().len());
    }
}

/// Reads windows on threads that may block.
pub trait Loader: std::fmt::Debug + Send + Sync {
    /// Takes a job, which it runs before long.
    ///
    /// # Errors
    /// The job, where no thread takes it: the caller runs it.
    fn load(&self, job: LoadJob) -> Result<(), LoadJob>;
}

/// The reading of one window. If it is dropped unfinished, its readers get an error.
#[derive(Debug)]
pub struct LoadJob {
    load: Arc<Load>,
    windows: Arc<Windows>,
}

impl LoadJob {
    /// Reads the window, and wakes its readers. Waits a moment for memory where readers hold all that windows may
    /// take.
    pub fn run(self) {
        let has_room = self.windows.room.wait_for(self.load.whole.end - self.load.whole.start);
        self.read(if has_room { &self.load.whole } else { &self.load.least });
    }

    /// As [`LoadJob::run`], without the wait for memory: for a thread that has other things to do.
    pub fn run_at_once(self) {
        let has_room = self.windows.room.has(self.load.whole.end - self.load.whole.start);
        self.read(if has_room { &self.load.whole } else { &self.load.least });
    }

    fn read(&self, part: &Range<u64>) {
        let outcome = self.windows.read_part(&self.load.segment, part.clone());
        self.windows.finish(&self.load, outcome);
    }
}

impl Drop for LoadJob {
    fn drop(&mut self) {
        if self.load.outcome().is_none() {
            self.windows.finish(&self.load, Err(io::Error::other("the thread that reads has ended")));
        }
    }
}

/// A window that is being read.
#[derive(Debug)]
pub(crate) struct Load {
    segment: Arc<Segment>,
    /// The part of the file that is read if there is room.
    whole: Range<u64>,
    /// The part that is read anyway. Readers that wait for another part of the whole seek again.
    least: Range<u64>,
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Debug)]
enum State {
    /// Those to be woken.
    Reads(Vec<Waker>),
    Read(Arc<Window>),
    Failed(io::ErrorKind, Option<i32>, String),
}

impl State {
    fn outcome(&self) -> Option<io::Result<Arc<Window>>> {
        match self {
            Self::Reads(_) => None,
            Self::Read(window) => Some(Ok(Arc::clone(window))),
            Self::Failed(_, Some(errno), _) => Some(Err(io::Error::from_raw_os_error(*errno))),
            Self::Failed(kind, None, message) => Some(Err(io::Error::new(*kind, message.clone()))),
        }
    }
}

impl Load {
    pub(crate) fn outcome(&self) -> Option<io::Result<Arc<Window>>> {
        lock(&self.state).outcome()
    }

    /// Returns whether there is an outcome. If not, `waker` is woken when there is.
    pub(crate) fn is_read_or_wakes(&self, waker: &Waker) -> bool {
        match &mut *lock(&self.state) {
            State::Reads(wakers) => {
                wakers.push(waker.clone());
                false
            }
            State::Read(_) | State::Failed(..) => true,
        }
    }

    fn wait(&self) -> io::Result<Arc<Window>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = state.outcome() {
                return outcome;
            }
            state = self.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The windows of one log.
#[derive(Debug)]
pub(crate) struct Windows {
    room: Arc<Room>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The least recently used first.
    windows: Vec<Arc<Window>>,
    bytes: usize,
    loads: Vec<Arc<Load>>,
}

/// The outcome of looking for a window.
#[derive(Debug)]
pub(crate) enum Sought {
    Found(Arc<Window>),
    /// It is being read.
    Reads(Arc<Load>),
    /// It is for the caller to have it read.
    ToRead(Arc<Load>, LoadJob),
}

impl Windows {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { room: Arc::new(Room::new(LogMemory::WINDOW_BYTES, PATIENCE)), kept: Mutex::default() })
    }

    /// Sets how much memory they may take, but for small ones.
    pub(super) fn allow(&self, bytes_max: usize) {
        self.room.allow(bytes_max);
    }

    /// Bytes of all windows there are.
    pub(super) fn bytes(&self) -> usize {
        self.room.live()
    }

    /// Looks for a window with the block at `offset`, of which `length` bytes are known to be needed.
    pub(crate) fn seek(self: &Arc<Self>, segment: &Arc<Segment>, offset: u64, length: u64) -> Sought {
        let needed = offset..offset + length;
        let mut kept = lock(&self.kept);
        if let Some(at) = kept.windows.iter().rposition(|window| window.has(segment, &needed)) {
            // The last one is mostly the one.
            if at + 1 < kept.windows.len() {
                let window = kept.windows.remove(at);
                kept.windows.push(window);
            }
            return Sought::Found(Arc::clone(&kept.windows[kept.windows.len() - 1]));
        }
        let is_same = |load: &&Arc<Load>| {
            load.segment.epoch() == segment.epoch() && load.whole.start <= needed.start && needed.end <= load.whole.end
        };
        if let Some(load) = kept.loads.iter().find(is_same) {
            return Sought::Reads(Arc::clone(load));
        }
        let state = Mutex::new(State::Reads(Vec::new()));
        let (whole, least) = parts_around(&needed, segment.data_end());
        let load = Arc::new(Load { segment: Arc::clone(segment), whole, least, state, finished: Condvar::new() });
        kept.loads.push(Arc::clone(&load));
        Sought::ToRead(Arc::clone(&load), LoadJob { load, windows: Arc::clone(self) })
    }

    /// As [`Windows::seek`], blocking until the window is there.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(self: &Arc<Self>, segment: &Arc<Segment>, offset: u64, length: u64) -> io::Result<Arc<Window>> {
        loop {
            match self.seek(segment, offset, length) {
                Sought::Found(window) => return Ok(window),
                Sought::Reads(load) => {
                    let window = load.wait()?;
                    if window.has(segment, &(offset..offset + length)) {
                        return Ok(window);
                    }
                }
                Sought::ToRead(load, job) => {
                    job.run_at_once();
                    return load.wait();
                }
            }
        }
    }

    /// A block of it does not check: the next reader reads it anew.
    pub(crate) fn forget(&self, window: &Arc<Window>) {
        let mut kept = lock(&self.kept);
        if let Some(at) = kept.windows.iter().position(|listed| Arc::ptr_eq(listed, window)) {
            let gone = kept.windows.remove(at);
            kept.bytes -= gone.bytes.as_slice().len();
        }
    }

    fn read_part(&self, segment: &Segment, part: Range<u64>) -> io::Result<Arc<Window>> {
        let file = segment.file()?;
        let mut bytes = AlignedBytes::zeroed((part.end - part.start) as usize)?;
        let read = file.read_at(bytes.as_mut_slice(), part.start)?;
        bytes.truncate(read);
        let pages = bytes.as_slice().len().div_ceil(PAGE_BYTES);
        self.room.take(bytes.as_slice().len());
        Ok(Arc::new(Window {
            epoch: segment.epoch(),
            part,
            bytes,
            checked: (0..pages.div_ceil(64).max(1)).map(|_| AtomicU64::new(0)).collect(),
            room: Arc::clone(&self.room),
        }))
    }

    fn finish(&self, load: &Arc<Load>, outcome: io::Result<Arc<Window>>) {
        let mut gone = Vec::new();
        {
            let mut kept = lock(&self.kept);
            kept.loads.retain(|listed| !Arc::ptr_eq(listed, load));
            if let Ok(window) = &outcome {
                gone = kept.keep(window, self.room.bytes_max() / 2);
            }
        }
        drop(gone);
        let state = match outcome {
            Ok(window) => State::Read(window),
            Err(error) => State::Failed(error.kind(), error.raw_os_error(), error.to_string()),
        };
        let before = std::mem::replace(&mut *lock(&load.state), state);
        load.finished.notify_all();
        if let State::Reads(wakers) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

/// The parts of the file that are read for these bytes of it: with room, and without.
fn parts_around(needed: &Range<u64>, data_end: u64) -> (Range<u64>, Range<u64>) {
    let least = needed.start..needed.end.max((needed.start + SMALL_BYTES as u64).min(data_end));
    let start = needed.start / STRIDE_BYTES * STRIDE_BYTES;
    let whole = start..(start + STRIDE_BYTES + OVERLAP_BYTES).min(data_end);
    if needed.end <= whole.end { (whole, least) } else { (least.clone(), least) }
}

impl Kept {
    /// Keeps a window. Returns those that make room for it.
    fn keep(&mut self, window: &Arc<Window>, bytes_max: usize) -> Vec<Arc<Window>> {
        if window.is_of_large_block() {
            // Its readers have it, and no others.
            return Vec::new();
        }
        self.bytes += window.bytes.as_slice().len();
        self.windows.push(Arc::clone(window));
        let mut gone = 0;
        while self.bytes > bytes_max && gone + 1 < self.windows.len() {
            self.bytes -= self.windows[gone].bytes.as_slice().len();
            gone += 1;
        }
        self.windows.drain(..gone).collect()
    }
}
