//! Windows: parts of files that blocks come to, read in large steps and shared between readers.
//!
//! A file that is being written is not mapped, and its blocks may be small. So a reader reads a window of it, with all
//! blocks in it, past the page cache; the next blocks, and other readers, find it in memory. One reader alone reads a
//! window, the others wait for it. A reader that must not block its thread has a [`Loader`] read it, and is woken.
//!
//! In bounded memory: half of it are windows that are kept, the least recently used go first; while readers hold the
//! other half, a window is only as large as its first block needs.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;

use super::{LogOptions, Segment};
use crate::device::AlignedBytes;
use crate::format::{BlockError, BlockHeader, BlockView, Epoch, PAGE_BYTES};
use crate::lock::lock;

/// Bytes from the beginning of one window to that of the next.
const STRIDE_BYTES: u64 = 256 << 10;

/// Bytes of the next window that a window has as well: a block of that size is whole in the one that it begins in.
const OVERLAP_BYTES: u64 = 32 << 10;

/// Bytes of a window while there is no memory for larger ones.
const SMALL_BYTES: u64 = 16 << 10;

/// A part of a segment's file in memory.
#[derive(Debug)]
pub(crate) struct Window {
    epoch: Epoch,
    /// Offset in the file.
    start: u64,
    bytes: AlignedBytes,
    /// A bit for each page where a checked block starts.
    checked: Box<[AtomicU64]>,
    /// Bytes of all windows there are.
    live: Arc<AtomicUsize>,
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
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.as_slice().get(at..).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.as_slice().len() as u64
    }

    /// Looks at the block at an offset of the file. Costs one checksum pass the first time.
    pub(crate) fn block(&self, offset: u64) -> BlockIn {
        let bytes = self.bytes_from(offset);
        let header = match BlockView::of_checked(bytes, self.epoch) {
            Ok(view) => *view.header(),
            Err(BlockError::Short { needed, .. }) => return BlockIn::Cut(needed as u64),
            Err(error) => return BlockIn::Damaged(error),
        };
        let page = (offset - self.start) as usize / PAGE_BYTES;
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

    fn has(&self, segment: &Segment, part: &Range<u64>) -> bool {
        self.epoch == segment.epoch() && self.start <= part.start && part.end <= self.end()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.live.fetch_sub(self.bytes.as_slice().len(), Ordering::Relaxed);
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
    /// Reads the window, and wakes its readers.
    pub fn run(self) {
        let outcome = self.windows.read_now(&self.load);
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
    part: Range<u64>,
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

    /// The outcome; without one, `waker` is woken when there is.
    pub(crate) fn outcome_or_wake(&self, waker: &Waker) -> Option<io::Result<Arc<Window>>> {
        let mut state = lock(&self.state);
        if let State::Reads(wakers) = &mut *state {
            wakers.push(waker.clone());
        }
        state.outcome()
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
    bytes_max: AtomicUsize,
    live: Arc<AtomicUsize>,
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
        let bytes_max = AtomicUsize::new(LogOptions::WINDOW_BYTES);
        Arc::new(Self { bytes_max, live: Arc::default(), kept: Mutex::default() })
    }

    /// Sets how much memory they may take, but for small ones.
    pub(super) fn allow(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Bytes of all windows there are.
    pub(super) fn bytes(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Looks for a window with the block at `offset`, of which `length` bytes are known to be needed.
    pub(crate) fn seek(self: &Arc<Self>, segment: &Arc<Segment>, offset: u64, length: u64) -> Sought {
        let needed = offset..offset + length;
        let part = self.part_around(&needed, segment.data_end());
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
            load.segment.epoch() == segment.epoch() && load.part.start <= needed.start && needed.end <= load.part.end
        };
        if let Some(load) = kept.loads.iter().find(is_same) {
            return Sought::Reads(Arc::clone(load));
        }
        let state = Mutex::new(State::Reads(Vec::new()));
        let load = Arc::new(Load { segment: Arc::clone(segment), part, state, finished: Condvar::new() });
        kept.loads.push(Arc::clone(&load));
        Sought::ToRead(Arc::clone(&load), LoadJob { load, windows: Arc::clone(self) })
    }

    /// As [`Windows::seek`], blocking until the window is there.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(self: &Arc<Self>, segment: &Arc<Segment>, offset: u64, length: u64) -> io::Result<Arc<Window>> {
        match self.seek(segment, offset, length) {
            Sought::Found(window) => Ok(window),
            Sought::Reads(load) => load.wait(),
            Sought::ToRead(load, job) => {
                job.run();
                load.wait()
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

    /// The part of the file that is read for these bytes of it.
    fn part_around(&self, needed: &Range<u64>, data_end: u64) -> Range<u64> {
        let start = needed.start / STRIDE_BYTES * STRIDE_BYTES;
        let whole = start..(start + STRIDE_BYTES + OVERLAP_BYTES).min(data_end);
        let room = self.bytes_max.load(Ordering::Relaxed).saturating_sub(self.bytes());
        if needed.end <= whole.end && whole.end - whole.start <= room as u64 {
            return whole;
        }
        needed.start..needed.end.max((needed.start + SMALL_BYTES).min(data_end))
    }

    fn read_now(&self, load: &Load) -> io::Result<Arc<Window>> {
        let file = load.segment.file()?;
        let mut bytes = AlignedBytes::zeroed((load.part.end - load.part.start) as usize)?;
        let read = file.read_at(bytes.as_mut_slice(), load.part.start)?;
        bytes.truncate(read);
        let pages = bytes.as_slice().len().div_ceil(PAGE_BYTES);
        self.live.fetch_add(bytes.as_slice().len(), Ordering::Relaxed);
        Ok(Arc::new(Window {
            epoch: load.segment.epoch(),
            start: load.part.start,
            bytes,
            checked: (0..pages.div_ceil(64).max(1)).map(|_| AtomicU64::new(0)).collect(),
            live: Arc::clone(&self.live),
        }))
    }

    fn finish(&self, load: &Arc<Load>, outcome: io::Result<Arc<Window>>) {
        let mut gone = Vec::new();
        {
            let mut kept = lock(&self.kept);
            kept.loads.retain(|listed| !Arc::ptr_eq(listed, load));
            if let Ok(window) = &outcome {
                gone = kept.keep(window, self.bytes_max.load(Ordering::Relaxed) / 2);
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

impl Kept {
    /// Keeps a window. Returns those that make room for it.
    fn keep(&mut self, window: &Arc<Window>, bytes_max: usize) -> Vec<Arc<Window>> {
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
