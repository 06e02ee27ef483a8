//! The part of a log that readers on other threads see: watermarks, recent blocks, segments.
//!
//! Order of publication, which readers rely on: a block is listed in the tail before `appended` passes its first
//! record; a block is described by its segment before it leaves the tail; so a sequence below `appended` is always
//! found in the tail, in a segment, or below `trimmed`.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::lending::Lending;
use super::trouble::{Trouble, Troubles};
use super::windows::Windows;
use super::{Expired, LentBlock, LogOptions, Position, Run, Segment, gaps};
use crate::device::BlockMemory;
use crate::format::{LogId, Sequence};
use crate::lock::lock;

/// The first error that ended a log's writing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("shard {shard_id}: {operation} failed at {place}: {message}; nothing after sequence {durable} is acknowledged")]
pub struct Poison {
    /// The shard.
    pub shard_id: u16,
    /// The call that failed.
    pub operation: &'static str,
    /// Segment and offset.
    pub place: String,
    /// The kernel's error number, where there is one.
    pub errno: Option<i32>,
    /// The error in words.
    pub message: String,
    /// The durable watermark, which stays.
    pub durable: Sequence,
}

impl Poison {
    /// Returns whether the log ended because its disk had no space for events that it had taken. A log that goes on
    /// meets a full disk with patience.
    pub fn is_for_want_of_space(&self) -> bool {
        self.errno == Some(libc::ENOSPC)
    }
}

/// The progress of a log: exclusive upper sequences, of which none passes the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermarks {
    /// Gone up to here.
    pub trimmed: Sequence,
    /// Acknowledged at the log's level up to here.
    pub durable: Sequence,
    /// Readable up to here.
    pub appended: Sequence,
}

/// Shared, read-only face of one shard's log.
#[derive(Debug)]
pub struct LogView {
    log_id: LogId,
    shard: u16,
    run: Run,
    appended: AtomicU64,
    durable: AtomicU64,
    trimmed: AtomicU64,
    full: AtomicBool,
    commits: AtomicU64,
    commit_ns: AtomicU64,
    /// The time at which the oldest block was begun that is not durable; 0 without any.
    pending_since: AtomicU64,
    poison: OnceLock<Poison>,
    troubles: Troubles,
    tail: Mutex<VecDeque<Arc<BlockMemory>>>,
    lending: Arc<Lending>,
    windows: Arc<Windows>,
    segments: Mutex<Vec<Arc<Segment>>>,
}

impl LogView {
    /// A view of a log of which `sequences` are not trimmed, standing in `segments`. `run`: the one that writes, if any
    /// does.
    pub(crate) fn new(
        log_id: LogId,
        shard: u16,
        sequences: Range<Sequence>,
        segments: Vec<Arc<Segment>>,
        run: Option<Run>,
    ) -> Arc<Self> {
        let Range { start: trimmed, end: next } = sequences;
        Arc::new(Self {
            log_id,
            shard,
            run: run.or_else(|| Run::last_of(&segments)).unwrap_or_default(),
            appended: AtomicU64::new(next.get()),
            durable: AtomicU64::new(next.get()),
            trimmed: AtomicU64::new(trimmed.get()),
            full: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            commit_ns: AtomicU64::new(0),
            pending_since: AtomicU64::new(0),
            poison: OnceLock::new(),
            troubles: Troubles::default(),
            tail: Mutex::new(VecDeque::new()),
            lending: Arc::default(),
            windows: Windows::new(),
            segments: Mutex::new(segments),
        })
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The shard.
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Readable up to here.
    pub fn appended(&self) -> Sequence {
        // SYNC: pairs with the Release store in set_appended: the tail lists what it covers.
        Sequence::new(self.appended.load(Ordering::Acquire))
    }

    /// Acknowledged at the log's level up to here.
    pub fn durable(&self) -> Sequence {
        // SYNC: pairs with the Release store in set_durable.
        Sequence::new(self.durable.load(Ordering::Acquire))
    }

    /// Gone up to here.
    pub fn trimmed(&self) -> Sequence {
        // SYNC: pairs with the Release store in set_trimmed.
        Sequence::new(self.trimmed.load(Ordering::Acquire))
    }

    /// The watermarks of one moment: trimmed <= durable <= appended.
    pub fn watermarks(&self) -> Watermarks {
        // Each rises, and the later one is raised first: looked at in this order, none is seen to pass the next.
        let (trimmed, durable) = (self.trimmed(), self.durable());
        Watermarks { trimmed, durable, appended: self.appended() }
    }

    /// Blocks acknowledged since the log was opened, and the nanoseconds that they took from their first event on, all
    /// together.
    pub fn commits(&self) -> (u64, u64) {
        (self.commits.load(Ordering::Relaxed), self.commit_ns.load(Ordering::Relaxed))
    }

    /// Counts a block that took so long.
    pub(crate) fn add_commit(&self, nanos: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The time at which the oldest block was begun that is not durable, by the clock of the log's turns. `None`
    /// without any, and at level `Memory`.
    pub fn pending_since(&self) -> Option<u64> {
        Some(self.pending_since.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    pub(super) fn set_pending_since(&self, since: Option<u64>) {
        self.pending_since.store(since.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns whether the log waits for space on its disk.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The error that ended the log, if one did.
    pub fn poison(&self) -> Option<&Poison> {
        self.poison.get()
    }

    /// Errors that the log goes on after, and what is done about each.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.all()
    }

    /// The trouble that keeps the log from writing, if one does and it is not a full disk. The log tries again every
    /// [`LogOptions::FULL_RETRY_NS`]; what it has taken is kept meanwhile. A lock.
    pub fn shortage(&self) -> Option<Trouble> {
        self.troubles.hold_up().filter(|_| !self.is_full())
    }

    /// Notes that this operation keeps the log from writing, or that none does.
    pub(super) fn set_hold_up(&self, operation: Option<&'static str>) {
        self.troubles.set_hold_up(operation);
    }

    /// An operation has failed, and is tried again or done without.
    pub(super) fn add_trouble(&self, operation: &'static str, place: String, error: &io::Error, is_retried: bool) {
        self.troubles.add(operation, place, error, is_retried);
    }

    /// An operation has succeeded.
    pub(super) fn end_trouble(&self, operation: &str) {
        self.troubles.end(operation);
    }

    /// The position before `next`, to be found again by [`LogView::resume`].
    pub fn position(&self, next: Sequence) -> Position {
        let run = match next.get().checked_sub(1).map(Sequence::new) {
            // Nothing was read before it: no run can have lost what was read.
            None => Run::default(),
            Some(last) if last >= self.run.base => self.run,
            Some(last) => Run::at(&lock(&self.segments), last),
        };
        Position { next, run }
    }

    /// Sequence at which a reader that stood at `position` goes on, perhaps after a restart. Below `position.next` if a
    /// crash took what it had read above the durable watermark, whose sequences have been given to other events since.
    ///
    /// # Errors
    /// [`Expired`], where the log does not remember the run that the position belongs to.
    pub fn resume(&self, position: Position) -> Result<Sequence, Expired> {
        if position.run == self.run || position.run == Run::default() {
            return Ok(position.next.min(self.appended()));
        }
        let segments = lock(&self.segments);
        if let Some(end) = position.run.end_in(&segments) {
            // The present run begins where recovery found the log to end, and may have no segment yet.
            let is_last = segments.last().is_some_and(|last| last.end_sequence() == end);
            let end = if is_last { end.max(self.run.base) } else { end };
            return Ok(position.next.min(end));
        }
        // A run that left no segment made nothing durable.
        match position.run.base >= self.trimmed() {
            true => Ok(position.run.base.min(self.appended())),
            false => Err(Expired),
        }
    }

    /// Where runs began, at sequences up to `last`, ascending. A crash took what the run before had above that.
    pub fn run_starts(&self, last: Sequence) -> Vec<Sequence> {
        let (mut starts, mut run) = (Vec::new(), None);
        for segment in lock(&self.segments).iter() {
            for start in segment.run_starts().filter(|start| start.first <= last) {
                // A run goes on from segment to segment.
                if run.replace(start.run) != Some(start.run) {
                    starts.push(start.first);
                }
            }
        }
        // The present one may have no segment yet.
        let has_begun = self.run != Run::default() && run != Some(self.run.epoch);
        if has_begun && self.run.base <= last && starts.last() != Some(&self.run.base) {
            starts.push(self.run.base);
        }
        starts
    }

    /// Segments, oldest first.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        lock(&self.segments).clone()
    }

    /// The segment that holds `sequence`, if one was ever given it.
    pub(crate) fn segment_of(&self, sequence: Sequence) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let after = segments.partition_point(|segment| segment.base() <= sequence);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The segment after the one that starts at `base`.
    pub(crate) fn segment_after(&self, base: Sequence) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        segments.get(segments.partition_point(|segment| segment.base() <= base)).cloned()
    }

    /// The end of the hole that `sequence` lies in, if it does: sequences that a repair found to be lost.
    /// To be asked only after the tail was found not to hold it: what left the tail is described by its segment.
    pub(crate) fn hole_at(&self, sequence: Sequence) -> Option<Sequence> {
        let segments = lock(&self.segments);
        let after = segments.partition_point(|segment| segment.base() <= sequence);
        let ended = |segment: &Arc<Segment>| segment.end_sequence() <= sequence;
        let is_hole = after.checked_sub(1).and_then(|at| segments.get(at)).is_none_or(ended);
        // What the present run has written and no segment describes yet is in the tail.
        let last_end = || if self.run.base > sequence { self.run.base } else { self.appended() };
        let end = segments.get(after).map_or_else(last_end, |next| next.base());
        // A log in memory has no segments, and a tail that never ends.
        let is_in_memory = segments.is_empty() && self.run == Run::default() && !lock(&self.tail).is_empty();
        (is_hole && !is_in_memory && (self.trimmed()..end).contains(&sequence)).then_some(end)
    }

    /// The block in memory that holds `sequence`, if one does.
    pub(crate) fn tail_block(&self, sequence: Sequence) -> Option<Arc<BlockMemory>> {
        let tail = lock(&self.tail);
        let after = tail.partition_point(|block| block.first_sequence() <= sequence);
        tail.get(after.checked_sub(1)?).cloned()
    }

    /// Lends a block of the tail to a reader.
    ///
    /// # Errors
    /// The block, where too many are lent: the reader copies what it needs, and drops it.
    pub fn lend(&self, block: Arc<BlockMemory>) -> Result<LentBlock, Arc<BlockMemory>> {
        self.lending.lend(block)
    }

    /// Bytes of the blocks that readers hold, which are among those that the log fills. At most half of them.
    pub fn lent_bytes(&self) -> usize {
        LogOptions::memory_bytes(self.lending.lent())
    }

    /// Bytes that readers have in memory of the file that blocks come to.
    pub fn window_bytes(&self) -> usize {
        self.windows.bytes()
    }

    pub(crate) fn windows(&self) -> &Arc<Windows> {
        &self.windows
    }

    pub(crate) fn lending(&self) -> &Lending {
        &self.lending
    }

    /// Locks the tail unless a reader has it at this moment: the shard never waits for a reader.
    pub(crate) fn try_tail(&self) -> Option<MutexGuard<'_, VecDeque<Arc<BlockMemory>>>> {
        match self.tail.try_lock() {
            Ok(tail) => Some(tail),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        lock(&self.segments).push(segment);
    }

    /// Puts a segment with the same events in the place of the one that readers had so far.
    pub(crate) fn replace_segment(&self, segment: Arc<Segment>) {
        segment.files().forget_map(segment.base());
        let mut segments = lock(&self.segments);
        if let Ok(at) = segments.binary_search_by_key(&segment.base(), |listed| listed.base()) {
            segments[at] = segment;
        }
    }

    /// Puts a segment in the place of those that it holds the events of.
    pub(crate) fn merge_segments(&self, merged: Arc<Segment>) {
        let (base, end) = (merged.base(), merged.end_sequence());
        merged.files().forget_map(base);
        let gone: Vec<_> = {
            let mut segments = lock(&self.segments);
            let from = segments.partition_point(|listed| listed.base() < base);
            let to = segments.partition_point(|listed| listed.base() < end);
            segments.splice(from..to, [merged]).collect()
        };
        gone.iter().filter(|gone| gone.base() > base).for_each(|gone| gone.files().forget(gone.base()));
    }

    pub(crate) fn remove_segment(&self, base: Sequence) {
        let removed = {
            let mut segments = lock(&self.segments);
            segments.binary_search_by_key(&base, |listed| listed.base()).ok().map(|at| segments.remove(at))
        };
        if let Some(removed) = removed {
            removed.files().forget(base);
        }
    }

    pub(crate) fn set_appended(&self, appended: Sequence) {
        assert!(appended.get() >= self.durable.load(Ordering::Relaxed), "what is durable is readable");
        // SYNC: pairs with the Acquire load in appended().
        self.appended.store(appended.get(), Ordering::Release);
    }

    pub(crate) fn set_durable(&self, durable: Sequence) {
        assert!(durable.get() <= self.appended.load(Ordering::Relaxed), "what is durable is readable");
        assert!(durable.get() >= self.durable.load(Ordering::Relaxed), "what is durable stays so");
        // SYNC: pairs with the Acquire load in durable().
        self.durable.store(durable.get(), Ordering::Release);
    }

    /// Nothing below `to`, where a segment begins, is read any more. Returns the names of the files that may go.
    pub(crate) fn trim(&self, to: Sequence) -> Vec<String> {
        self.set_trimmed(to);
        let gone = self.take_segments(|segment| segment.base() < to);
        gone.iter().map(|segment| Segment::file_name(segment.base())).collect()
    }

    /// Returns whether `sequence` of a segment whose file is not there was trimmed, perhaps by another process, which
    /// has recorded that before it removed the file. Readers of this view then get a gap, too.
    pub(crate) fn was_trimmed(&self, segment: &Segment, sequence: Sequence) -> bool {
        if sequence < self.trimmed() {
            return true;
        }
        let Ok(gaps) = gaps::read(&**segment.files().directory(), self.log_id, self.shard) else { return false };
        let to = gaps.trimmed().min(self.durable());
        if to <= self.trimmed() {
            return false;
        }
        self.set_trimmed(to);
        self.take_segments(|segment| segment.end_sequence() <= to);
        sequence < to
    }

    /// Takes the first segments, those that are `gone`, out of the list.
    fn take_segments(&self, gone: impl Fn(&Segment) -> bool) -> Vec<Arc<Segment>> {
        let taken: Vec<_> = {
            let mut segments = lock(&self.segments);
            let kept = segments.partition_point(|segment| gone(segment));
            segments.drain(..kept).collect()
        };
        taken.iter().for_each(|segment| segment.files().forget(segment.base()));
        taken
    }

    pub(crate) fn set_trimmed(&self, trimmed: Sequence) {
        assert!(trimmed.get() <= self.durable.load(Ordering::Relaxed), "what is trimmed was durable");
        // SYNC: pairs with the Acquire load in trimmed(). The maximum: readers find out of trimming on their own.
        self.trimmed.fetch_max(trimmed.get(), Ordering::Release);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// The thread that wrote the log has ended before its time: nothing more is acknowledged. Called by its host.
    pub fn set_dead(&self, thread: &str, message: &str) {
        self.set_poison("run", format!("thread {thread}"), &io::Error::other(message));
    }

    /// Keeps the first error only.
    pub(crate) fn set_poison(&self, operation: &'static str, place: String, error: &io::Error) {
        let _ = self.poison.set(Poison {
            shard_id: self.shard,
            operation,
            place,
            errno: crate::device::errno_of(error),
            message: error.to_string(),
            durable: self.durable(),
        });
    }
}
