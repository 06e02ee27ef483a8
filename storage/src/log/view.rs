//! The part of a log that readers on other threads see: watermarks, recent blocks, segments.
//!
//! Order of publication, which readers rely on: a block is listed in the tail before `appended` passes its first
//! record; a block is described by its segment before it leaves the tail; so a sequence below `appended` is always
//! found in the tail, in a segment, or below `trimmed`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::commits::Commits;
use super::health::Health;
use super::memory_tail::MemoryTail;
use super::segment_list::SegmentList;
use super::watermarks::SharedWatermarks;
use super::windows::Windows;
use super::{Expired, LentBlock, LogOptions, Poison, Position, Run, Segment, Trouble, Watermarks, gaps};
use crate::device::BlockMemory;
use crate::format::{LogId, LogShard, Sequence};

/// Shared, read-only face of one shard's log.
#[derive(Debug)]
pub struct LogView {
    shard: LogShard,
    watermarks: SharedWatermarks,
    commits: Commits,
    health: Health,
    tail: MemoryTail,
    windows: Arc<Windows>,
    segments: SegmentList,
}

impl LogView {
    /// A view of a log of which `sequences` are not trimmed, standing in `segments`. `run`: the one that writes, if any
    /// does.
    pub(crate) fn new(
        shard: LogShard,
        sequences: Range<Sequence>,
        segments: Vec<Arc<Segment>>,
        run: Option<Run>,
    ) -> Arc<Self> {
        Arc::new(Self {
            shard,
            watermarks: SharedWatermarks::new(sequences.start, sequences.end),
            commits: Commits::default(),
            health: Health::default(),
            tail: MemoryTail::default(),
            windows: Windows::new(),
            segments: SegmentList::new(segments, run),
        })
    }

    /// The shard, with the log that it belongs to.
    pub fn log_shard(&self) -> LogShard {
        self.shard
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.shard.log_id
    }

    /// The shard.
    pub fn shard(&self) -> u16 {
        self.shard.number
    }

    /// Readable up to here.
    #[inline]
    pub fn appended(&self) -> Sequence {
        self.watermarks.appended()
    }

    /// Acknowledged at the log's level up to here.
    #[inline]
    pub fn durable(&self) -> Sequence {
        self.watermarks.durable()
    }

    /// Gone up to here.
    #[inline]
    pub fn trimmed(&self) -> Sequence {
        self.watermarks.trimmed()
    }

    /// The watermarks of one moment: trimmed <= durable <= appended.
    pub fn watermarks(&self) -> Watermarks {
        self.watermarks.all()
    }

    pub(crate) fn set_appended(&self, appended: Sequence) {
        self.watermarks.set_appended(appended);
    }

    pub(crate) fn set_durable(&self, durable: Sequence) {
        self.watermarks.set_durable(durable);
    }

    pub(crate) fn set_trimmed(&self, trimmed: Sequence) {
        self.watermarks.raise_trimmed(trimmed);
    }

    /// Blocks acknowledged since the log was opened, and the nanoseconds that they took from their first event on, all
    /// together.
    pub fn commits(&self) -> (u64, u64) {
        self.commits.totals()
    }

    /// The time at which the oldest block was begun that is not durable, by the clock of the log's turns. `None`
    /// without any, and at level `Memory`.
    pub fn pending_since(&self) -> Option<u64> {
        self.commits.pending_since()
    }

    pub(super) fn commit_pace(&self) -> &Commits {
        &self.commits
    }

    /// Returns whether the log waits for space on its disk.
    pub fn is_full(&self) -> bool {
        self.health.is_full()
    }

    /// The error that ended the log, if one did.
    pub fn poison(&self) -> Option<&Poison> {
        self.health.poison()
    }

    /// Errors that the log goes on after, and what is done about each.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.health.troubles()
    }

    /// The trouble that keeps the log from writing, if one does and it is not a full disk. The log tries again every
    /// [`LogOptions::FULL_RETRY_NS`]; what it has taken is kept meanwhile. A lock.
    pub fn shortage(&self) -> Option<Trouble> {
        self.health.shortage()
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// The thread that wrote the log has ended before its time: nothing more is acknowledged. Called by its host.
    pub fn set_dead(&self, thread: &str, message: &str) {
        self.set_poison("run", format!("thread {thread}"), &io::Error::other(message));
    }

    /// Ends the log with this error, unless an earlier one has.
    pub(super) fn set_poison(&self, operation: &'static str, place: String, error: &io::Error) {
        self.health.set_poison(Poison {
            shard_id: self.shard.number,
            operation,
            place,
            errno: crate::device::errno_of(error),
            message: error.to_string(),
            durable: self.durable(),
        });
    }

    /// The position before `next`, to be found again by [`LogView::resume`].
    pub fn position(&self, next: Sequence) -> Position {
        let run = match next.get().checked_sub(1).map(Sequence::new) {
            // Nothing was read before it: no run can have lost what was read.
            None => Run::default(),
            Some(last) => self.segments.run_of(last),
        };
        Position { next, run }
    }

    /// Sequence at which a reader that stood at `position` goes on, perhaps after a restart. Below `position.next` if a
    /// crash took what it had read above the durable watermark, whose sequences have been given to other events since.
    ///
    /// # Errors
    /// [`Expired`], where the log does not remember the run that the position belongs to.
    pub fn resume(&self, position: Position) -> Result<Sequence, Expired> {
        if position.run == self.segments.run() || position.run == Run::default() {
            return Ok(position.next.min(self.appended()));
        }
        if let Some(end) = self.segments.end_of(position.run) {
            return Ok(position.next.min(end));
        }
        // A run that left no segment made nothing durable.
        if position.run.base >= self.trimmed() { Ok(position.run.base.min(self.appended())) } else { Err(Expired) }
    }

    /// Where runs began, at sequences up to `last`, ascending. A crash took what the run before had above that.
    pub fn run_starts(&self, last: Sequence) -> Vec<Sequence> {
        self.segments.run_starts(last)
    }

    /// Segments, oldest first.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.all()
    }

    pub(crate) fn segment_list(&self) -> &SegmentList {
        &self.segments
    }

    /// The segment that holds `sequence`, if one was ever given it.
    pub(crate) fn segment_of(&self, sequence: Sequence) -> Option<Arc<Segment>> {
        self.segments.at(sequence)
    }

    /// The segment after the one that starts at `base`.
    pub(crate) fn segment_after(&self, base: Sequence) -> Option<Arc<Segment>> {
        self.segments.after(base)
    }

    /// The end of the hole that `sequence` lies in, if it does: sequences that a repair found to be lost.
    /// To be asked only after the tail was found not to hold it: what left the tail is described by its segment.
    pub(crate) fn hole_at(&self, sequence: Sequence) -> Option<Sequence> {
        let (before, next) = self.segments.around(sequence);
        let run = self.segments.run();
        // A log in memory has no segments, and a tail that never ends.
        let has_segments = before.is_some() || next.is_some();
        if !has_segments && run == Run::default() && !self.tail.is_empty() {
            return None;
        }
        // What the present run has written and no segment describes yet is in the tail.
        let last_end = || if run.base > sequence { run.base } else { self.appended() };
        let end = next.map_or_else(last_end, |next| next.base());
        let is_hole = before.is_none_or(|segment| segment.end_sequence() <= sequence);
        (is_hole && (self.trimmed()..end).contains(&sequence)).then_some(end)
    }

    /// The recent blocks, in memory.
    pub(crate) fn tail(&self) -> &MemoryTail {
        &self.tail
    }

    /// Lends a block of the tail to a reader.
    ///
    /// # Errors
    /// The block, where too many are lent: the reader copies what it needs, and drops it.
    pub fn lend(&self, block: Arc<BlockMemory>) -> Result<LentBlock, Arc<BlockMemory>> {
        self.tail.lend(block)
    }

    /// Bytes of the blocks that readers hold, which are among those that the log fills. At most half of them.
    pub fn lent_bytes(&self) -> usize {
        LogOptions::memory_bytes(self.tail.lent())
    }

    /// Bytes that readers have in memory of the file that blocks come to.
    pub fn window_bytes(&self) -> usize {
        self.windows.bytes()
    }

    pub(crate) fn windows(&self) -> &Arc<Windows> {
        &self.windows
    }

    /// Nothing below `to`, where a segment begins, is read any more. Returns the names of the files that may go.
    pub(crate) fn trim(&self, to: Sequence) -> Vec<String> {
        self.set_trimmed(to);
        let gone = self.segments.take_first(|segment| segment.base() < to);
        gone.iter().map(|segment| Segment::file_name(segment.base())).collect()
    }

    /// Returns whether `sequence` of a segment whose file is not there was trimmed, perhaps by another process, which
    /// has recorded that before it removed the file. Readers of this view then get a gap, too.
    pub(crate) fn was_trimmed(&self, segment: &Segment, sequence: Sequence) -> bool {
        if sequence < self.trimmed() {
            return true;
        }
        let Ok(gaps) = gaps::read(&**segment.files().directory(), self.shard) else { return false };
        let to = gaps.trimmed().min(self.durable());
        if to <= self.trimmed() {
            return false;
        }
        self.set_trimmed(to);
        self.segments.take_first(|segment| segment.end_sequence() <= to);
        sequence < to
    }
}
