//! Append: runs of records into the open block, and closed blocks on to the pipeline.
//!
//! Cost: one copy and one checksum pass over the records; everything else is per run or per block.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::dense::Condenser;
use super::group_commit::GroupCommit;
use super::large::LargeBlock;
use super::open_block::OpenBlock;
use super::outage::Outage;
use super::pipeline::Pipeline;
use super::pool::{BlockPool, TAKE_MEMORY};
use super::recent_large::RecentLarge;
use super::{Chore, ChoreDone, LogOptions, LogView, Poison, Run, Urgency};
use crate::device::{BlockMemory, Doorbell};
use crate::format::{SEQUENCE_MAX, Sequence};

/// The last sequence at which a block may begin: then the sequences suffice for all that it holds.
const LAST_BLOCK: Sequence = Sequence::new(SEQUENCE_MAX.get() - BlockMemory::BLOCK_BYTES as u64);

/// The log of one shard, on the shard's thread.
#[derive(Debug)]
pub struct Log {
    view: Arc<LogView>,
    pool: BlockPool,
    group: GroupCommit,
    /// Opened, and not yet in the view's tail.
    unlisted: VecDeque<Arc<BlockMemory>>,
    next: Sequence,
    /// `None` at level `Memory`: the tail is the store.
    pipeline: Option<Pipeline>,
    condenser: Condenser,
    recent_large: RecentLarge,
    /// The operation that keeps the log from writing, as the view has it.
    held_up: Option<&'static str>,
}

impl Log {
    /// Longest time for which a closing log waits for readers that have the tail locked, in nanoseconds. Readers have
    /// it for less than a microsecond, unless their thread loses its core meanwhile.
    const LISTING_PATIENCE_NS: u64 = 10_000_000_000;

    /// A log without files: its blocks are the store, and the oldest goes when the budget is used up.
    pub fn in_memory(options: &LogOptions) -> Self {
        let view = LogView::new(options.shard, Sequence::ZERO..Sequence::ZERO, Vec::new(), Some(Run::default()));
        Self::with(options, view, BlockPool::new(options.memory.blocks), None)
    }

    pub(super) fn with(options: &LogOptions, view: Arc<LogView>, pool: BlockPool, pipeline: Option<Pipeline>) -> Self {
        let next = view.appended();
        view.tail().allow(options.memory.blocks);
        view.windows().allow(options.memory.window_bytes);
        Self {
            view,
            pool,
            group: GroupCommit::new(options),
            unlisted: VecDeque::new(),
            next,
            pipeline,
            condenser: Condenser::new(next),
            recent_large: RecentLarge::new(options),
            held_up: None,
        }
    }

    /// The view that readers have.
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// Name of the device driver.
    pub fn device_name(&self) -> &'static str {
        self.pipeline.as_ref().map_or("memory", Pipeline::device_name)
    }

    /// Remarks of the device driver: what it does without, and why.
    pub fn device_notes(&self) -> Vec<String> {
        self.pipeline.as_ref().map_or_else(Vec::new, Pipeline::device_notes)
    }

    /// First sequence of the open block.
    pub fn open_sequence(&self) -> Sequence {
        self.group.open().map_or(self.next, |open| open.writer.memory().first_sequence())
    }

    /// Sequence that the next record gets.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// The error that ended the log, if one did.
    pub fn poison(&self) -> Option<&Poison> {
        self.view.poison()
    }

    /// Copies as much of a run of records in as there is memory for; returns how many records and bytes were taken.
    /// `records` are archives back to back, `lengths` their lengths in units of 16 bytes, `now` the present time in
    /// nanoseconds. Nothing is visible before [`Log::publish`].
    ///
    /// A poisoned log takes nothing.
    pub fn append(&mut self, records: &[u8], lengths: &[u16], now: u64) -> (usize, usize) {
        let (mut taken, mut bytes) = (0, 0);
        if self.poison().is_some() {
            return (taken, bytes);
        }
        while taken < lengths.len() {
            let (block_bytes, events_max) = (self.group.block_bytes(), self.group.events_max(self.pipeline.as_ref()));
            let Some(open) = self.open_block(now) else { break };
            let most = lengths.len().min(taken.saturating_add(events_max.saturating_sub(open.writer.count())));
            let (count, length) = open.writer.fitting(&lengths[taken..most], block_bytes);
            if count == 0 && open.writer.count() > 0 {
                self.rotate(now);
                continue;
            }
            // Producers are held to records that fit an empty block.
            assert!(count > 0, "a record is larger than a block");
            open.append(&records[bytes..bytes + length], &lengths[taken..taken + count]);
            (taken, bytes) = (taken + count, bytes + length);
            self.next = self.next.plus(count as u64);
        }
        (taken, bytes)
    }

    /// As [`Log::append`], of records that no crash may separate: all of them go into one block, or none is taken.
    /// Returns whether they were.
    ///
    /// # Panics
    /// If they fit no block: the caller holds producers to what does.
    pub fn append_as_one(&mut self, records: &[u8], lengths: &[u16], now: u64) -> bool {
        if self.poison().is_some() {
            return false;
        }
        let block_bytes = self.group.block_bytes();
        let fits = |open: &OpenBlock| open.writer.has_room(lengths.len(), records.len(), block_bytes);
        if self.group.open().is_some_and(|open| !fits(open)) {
            self.rotate(now);
        }
        let Some(open) = self.open_block(now) else { return false };
        assert!(fits(open), "records that belong together are larger than a block");
        open.append(records, lengths);
        self.next = self.next.plus(lengths.len() as u64);
        true
    }

    /// Appends an event that has a block for itself, with this time. The open block goes to the device before it. A few
    /// hundred nanoseconds, whatever its size.
    ///
    /// # Errors
    /// The block, which a poisoned log does not take.
    pub fn append_large(&mut self, block: Box<LargeBlock>, timestamp: u64, now: u64) -> Result<(), Box<LargeBlock>> {
        if self.poison().is_some() || !self.has_sequences() {
            return Err(block);
        }
        self.rotate(now);
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.expect_block();
        }
        let open = block.place(self.next, timestamp, now);
        self.recent_large.add(open.writer.memory());
        self.unlisted.push_back(Arc::clone(open.writer.memory()));
        self.group.begin(open);
        self.next = self.next.plus(1);
        self.rotate(now);
        Ok(())
    }

    /// Returns whether the sequences suffice for another block; ends the log otherwise.
    fn has_sequences(&self) -> bool {
        if self.next > LAST_BLOCK {
            self.end("append", &io::Error::other("the sequences of the log are used up"));
        }
        self.next <= LAST_BLOCK
    }

    /// Lets readers see what was appended. `announce` is given each block that was begun since the last time, before
    /// anything in it can be seen to be there.
    ///
    /// While a reader has the tail locked, blocks that the tail does not list yet stay invisible until the next call.
    pub fn publish(&mut self, announce: impl FnMut(&Arc<BlockMemory>)) {
        if self.view.appended() == self.next {
            return;
        }
        if let Some(open) = self.group.open() {
            open.writer.publish();
        }
        self.list(announce);
        let listed = self.unlisted.front().map_or(self.next, |block| block.first_sequence());
        self.view.set_appended(listed);
        if self.pipeline.is_none() {
            self.view.set_durable(listed);
        }
    }

    /// Lists the blocks that were begun in the view's tail, unless a reader has it locked at this moment.
    fn list(&mut self, mut announce: impl FnMut(&Arc<BlockMemory>)) {
        if self.unlisted.is_empty() {
            return;
        }
        let Some(mut tail) = self.view.tail().try_lock() else { return };
        for block in self.unlisted.drain(..) {
            announce(&block);
            tail.push_back(block);
        }
    }

    /// Returns whether readers see everything that was appended.
    pub fn is_published(&self) -> bool {
        self.view.appended() == self.next
    }

    /// Commits what is due and published, submits, reaps, and moves the durable watermark. Returns whether anything
    /// moved.
    pub fn turn(&mut self, now: u64, urgency: Urgency) -> bool {
        let reaped = self.pipeline.as_mut().is_some_and(|pipeline| pipeline.reap(&self.view, now));
        if self.poison().is_some() {
            return false;
        }
        if self.group.is_due(self.pipeline.as_ref(), now, urgency) {
            self.rotate(now);
        }
        let submitted = self.pipeline.as_mut().is_some_and(|pipeline| pipeline.submit(&self.view, now));
        if self.pipeline.is_some() {
            let open = self.open_sequence();
            self.condenser.turn(&self.view, &mut self.pool, open, now);
            self.recent_large.drop_durable(&self.view, self.condenser.next());
        } else {
            self.recent_large.drop_oldest(&self.view, &mut self.pool);
        }
        self.report_hold_up();
        self.report_pending();
        reaped || submitted
    }

    /// Notes in the view since when there has been something that is not durable. A store.
    fn report_pending(&self) {
        let Some(pipeline) = &self.pipeline else { return };
        self.view
            .commit_pace()
            .set_pending_since(pipeline.pending_since().or(self.group.open().map(|open| open.opened_at)));
    }

    /// Returns whether writes are in flight.
    pub fn has_writes(&self) -> bool {
        self.pipeline.as_ref().is_some_and(Pipeline::has_writes)
    }

    /// Returns whether an operation keeps the log from writing: [`LogView::shortage`] says which.
    pub fn is_held_up(&self) -> bool {
        self.held_up.is_some()
    }

    /// Notes in the view which operation keeps the log from writing what it has, or from taking more: one that failed
    /// again a while after its first failure. Costs a few comparisons while there is none.
    fn report_hold_up(&mut self) {
        let is_written = self.pipeline.as_ref().is_none_or(Pipeline::is_idle);
        let memory = self.pool.outage().filter(|_| is_written).map(|outage| (TAKE_MEMORY, outage));
        let unwritten = self.pipeline.as_ref().filter(|_| !is_written);
        let held_up = memory.or_else(|| unwritten?.hold_up());
        let held_up = held_up.filter(|(_, outage)| outage.known_length() >= LogOptions::FULL_RETRY_NS);
        let held_up = held_up.map(|(operation, _)| operation);
        if std::mem::replace(&mut self.held_up, held_up) != held_up {
            self.view.health().set_hold_up(held_up);
        }
    }

    /// Returns whether everything appended is readable and durable, and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.is_published() && self.view.durable() == self.next && self.pipeline.as_ref().is_none_or(Pipeline::is_idle)
    }

    /// The time at which the open block is due, in the clock of `now`. `None` also where none will be committed: a
    /// poisoned log must not keep its shard awake.
    pub fn commit_due(&self) -> Option<u64> {
        self.group.due_at(self.pipeline.as_ref()).filter(|_| self.poison().is_none())
    }

    /// Sleeps until the device or the doorbell has something, or `timeout` has passed.
    pub fn wait(&mut self, doorbell: &Doorbell, timeout: Duration) {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.wait(doorbell, timeout),
            None => crate::device::memory::nap(doorbell, timeout),
        }
    }

    /// Gives up the oldest events: those of the sealed segments that end at `to` or before. Readers get a gap for them
    /// from now on; tidying removes the files. At level `Memory`, which lives in its budget, nothing.
    pub fn trim(&mut self, to: Sequence) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.trim(&self.view, to);
        }
    }

    /// Work that blocks, to be run on another thread; one at a time, each to be answered by [`Log::chore_done`].
    /// One that failed in a way that passes comes again [`LogOptions::FULL_RETRY_NS`] later.
    pub fn next_chore(&mut self, now: u64) -> Option<Chore> {
        self.pipeline.as_mut()?.next_chore(now)
    }

    /// Work that blocks and that nothing waits for, to be run on a thread that has time; one at a time, beside a chore,
    /// each to be answered by [`Log::chore_done`]. Indexes come once no block has had to wait for the device for
    /// [`LogOptions::CALM_NS`].
    pub fn next_tidying(&mut self, now: u64) -> Option<Chore> {
        self.pipeline.as_mut()?.next_tidying(&self.view, now)
    }

    /// Has the tidying chore that runs end early, if one does, as a log that is about to close wants it.
    pub fn abandon_tidying(&self) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.abandon_tidying();
        }
    }

    /// Has small segments merged without anything having been sealed.
    #[cfg(test)]
    pub(super) fn want_merging(&mut self) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.want_merging();
        }
    }

    /// Returns whether there is no tidying to do, and none is under way.
    #[cfg(test)]
    pub(super) fn is_tidy(&self) -> bool {
        self.pipeline.as_ref().is_none_or(Pipeline::is_tidy)
    }

    /// Takes the outcome of a chore.
    pub fn chore_done(&mut self, done: ChoreDone, now: u64) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.chore_done(&self.view, done, now);
        }
    }

    /// Publishes and commits everything, waits for it, seals the active segment, and gives segments their indexes for
    /// as long as [`LogOptions::CLOSE_TIDYING_NS`]. Blocks.
    ///
    /// # Errors
    /// The poison, or an error in words if space, descriptors or memory have run out for
    /// [`LogOptions::CLOSE_PATIENCE_NS`]: then what was not durable stays so, and recovery finds what reached the disk.
    pub fn close(&mut self, doorbell: &Doorbell, mut clock: impl FnMut() -> u64) -> Result<(), Poison> {
        let mut unlisted_since = None;
        self.publish(|_| {});
        while !self.is_idle() && (self.poison().is_none() || !self.is_published()) {
            let now = clock();
            self.publish(|_| {});
            let moved = self.turn(now, Urgency::Awaited);
            match self.next_chore(now) {
                Some(chore) => self.chore_done(chore.run(), now),
                None if moved => {}
                None => {
                    self.wait(doorbell, Duration::from_millis(1));
                    // A bell that stays rung would end each later nap at once.
                    doorbell.answer();
                }
            }
            self.give_up_if_stuck(now);
            // Time counts, not attempts: a nap may end at once.
            unlisted_since = unlisted_since.filter(|_| !self.is_published()).or((!self.is_published()).then_some(now));
            if unlisted_since.is_some_and(|since| now.saturating_sub(since) >= Self::LISTING_PATIENCE_NS) {
                let stuck = "a reader does not let go of the list of recent blocks";
                self.end("close", &io::Error::new(io::ErrorKind::TimedOut, stuck));
                break;
            }
        }
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.close(&self.view, clock);
        }
        self.poison().cloned().map_or(Ok(()), Err)
    }

    /// Ends a log in which nothing moves because of errors that pass, if none has passed for
    /// [`LogOptions::CLOSE_PATIENCE_NS`]. Returns whether it did.
    pub fn give_up_if_stuck(&self, now: u64) -> bool {
        let patience = LogOptions::CLOSE_PATIENCE_NS;
        let is_long = |outage: Outage| outage.age(now) >= patience;
        let is_short = self.pool.outage().is_some_and(is_long);
        let hold_up = self.pipeline.as_ref().and_then(Pipeline::hold_up);
        let is_stuck = is_short || hold_up.is_some_and(|(_, outage)| is_long(outage));
        if is_stuck && self.view.is_full() {
            self.give_up_for_want_of_space();
        } else if is_stuck {
            let troubles = self.view.troubles().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            self.end("close", &io::Error::other(troubles));
        }
        is_stuck
    }

    /// Ends the log with an error that is no segment's.
    fn end(&self, operation: &'static str, error: &io::Error) {
        self.view.set_poison(operation, "the end of the log".into(), error);
    }

    /// Ends a log whose disk has no space for events that were taken.
    pub fn give_up_for_want_of_space(&self) {
        self.end("close", &io::Error::from_raw_os_error(libc::ENOSPC));
    }

    fn open_block(&mut self, now: u64) -> Option<&mut OpenBlock> {
        if self.group.open().is_none() {
            if !self.has_sequences() {
                return None;
            }
            let (mut writer, tail_start) = self.pool.acquire(&self.view, self.view.durable(), now)?;
            if let (Some(start), None) = (tail_start, &self.pipeline) {
                self.view.set_trimmed(start);
            }
            if let Some(pipeline) = &mut self.pipeline {
                pipeline.expect_block();
            }
            writer.start(self.next);
            self.unlisted.push_back(Arc::clone(writer.memory()));
            let block = if self.pipeline.is_some() { OpenBlock::new } else { OpenBlock::in_memory };
            self.group.begin(block(writer, now));
        }
        self.group.open_mut()
    }

    /// The open block takes no more: it goes to the pipeline, or stays in the tail.
    fn rotate(&mut self, now: u64) {
        let Some(open) = self.group.close(now, self.next) else { return };
        open.writer.publish();
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.enqueue(open);
        }
    }
}
