//! Closed blocks on their way to the device, in order, and the durable watermark that follows them.
//!
//! Several writes are in flight and complete in any order; the watermark moves over the completed prefix only. The
//! header page of a new segment is one of the writes, before the segment's first block.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::active_segment::ActiveSegment;
use super::files::SegmentFiles;
use super::health::Space;
use super::in_flight::{Landing, WritesInFlight};
use super::open_block::OpenBlock;
use super::outage::Outage;
use super::refused::Refused;
use super::roll::Roller;
use super::trouble::Answer;
use super::{BlockPlace, Chore, ChoreDone, Durability, LogOptions, LogView, Segment};
use crate::device::{BlockMemory, Completion, Device, Doorbell, Write, is_passing};
use crate::format::{Gaps, PAGE_BYTES, Sequence};

const WRITE: &str = "write";

/// The file side of a log.
#[derive(Debug)]
pub(super) struct Pipeline {
    device: Box<dyn Device>,
    /// Closed, waiting for a place in flight or for a segment.
    waiting: VecDeque<OpenBlock>,
    flight: WritesInFlight,
    completions: Vec<Completion>,
    refused: Refused,
    /// None until there is something to write.
    active: Option<ActiveSegment>,
    roller: Roller,
    durability: Durability,
    /// The last time at which a block had to wait for its turn.
    waited_at: Option<u64>,
}

impl Pipeline {
    pub(super) fn new(device: Box<dyn Device>, files: Arc<SegmentFiles>, gaps: Gaps, options: &LogOptions) -> Self {
        Self {
            device,
            waiting: VecDeque::new(),
            flight: WritesInFlight::default(),
            completions: Vec::new(),
            refused: Refused::default(),
            active: None,
            roller: Roller::new(files, gaps, options),
            durability: options.durability,
            waited_at: None,
        }
    }

    pub(super) fn device_name(&self) -> &'static str {
        self.device.name()
    }

    pub(super) fn device_notes(&self) -> Vec<String> {
        self.device.notes()
    }

    pub(super) fn register(&mut self, memory: &[Arc<BlockMemory>]) {
        self.device.register(memory);
    }

    /// Nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_empty()
    }

    /// The time at which the oldest block was begun that is closed and not durable.
    pub(super) fn pending_since(&self) -> Option<u64> {
        self.flight.oldest_opened_at().or_else(|| self.waiting.front().map(|block| block.opened_at))
    }

    /// Returns whether writes are in flight.
    pub(super) fn has_writes(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Returns whether a block would be submitted at once.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.refused.is_empty() && self.flight.len() < self.device.depth()
    }

    /// Something will be written before long: the first segment is prepared meanwhile.
    pub(super) fn expect_block(&mut self) {
        self.roller.expect_block();
    }

    pub(super) fn enqueue(&mut self, block: OpenBlock) {
        self.waiting.push_back(block);
    }

    pub(super) fn wait(&mut self, doorbell: &Doorbell, timeout: Duration) {
        self.device.wait(doorbell, timeout);
    }

    /// Takes completions and advances the watermark over the completed prefix. Returns whether anything completed.
    ///
    /// Completions of a poisoned log are taken and change nothing: a device that has any to hand out does not sleep.
    pub(super) fn reap(&mut self, view: &LogView, now: u64) -> bool {
        if self.flight.is_empty() {
            return false;
        }
        self.device.complete(&mut self.completions);
        let any = !self.completions.is_empty();
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            self.land(view, completion, now);
        }
        self.completions = completions;
        if any && view.poison().is_none() {
            self.advance(view, now);
        }
        any
    }

    fn land(&mut self, view: &LogView, completion: Completion, now: u64) {
        let Completion { write, result } = completion;
        match result {
            _ if view.poison().is_some() => {}
            Ok(()) => self.flight.complete(write.token),
            Err(error) if is_passing(&error) => {
                view.health().add_trouble(WRITE, self.place_of(view, &write), &error, Answer::Retry);
                if error.kind() == io::ErrorKind::StorageFull {
                    view.health().set_space(Space::Full);
                }
                self.refused.add(write, now);
            }
            Err(error) => view.set_poison(WRITE, self.place_of(view, &write), &error),
        }
    }

    fn place_of(&self, view: &LogView, write: &Write) -> String {
        let base = self.flight.segment_base(write.token).unwrap_or_else(|| view.durable());
        format!("{}, offset {}", Segment::file_name(base), write.offset)
    }

    /// The operation that keeps everything from moving because of errors that pass.
    pub(super) fn hold_up(&self) -> Option<(&'static str, Outage)> {
        let write = self.refused.outage().map(|outage| (WRITE, outage));
        let moves = self.flight.len() > self.refused.len();
        write.or_else(|| self.roller.hold_up()).filter(|_| !moves)
    }

    fn advance(&mut self, view: &LogView, now: u64) {
        let mut durable = None;
        while let Some(landing) = self.flight.land() {
            match landing {
                Landing::Header(base) => self.roller.header_landed(base),
                Landing::Block { segment, place, data_end, end, opened_at } => {
                    view.commit_pace().add(now.saturating_sub(opened_at));
                    segment.extend(place, data_end, end);
                    durable = Some(end);
                }
            }
        }
        if let Some(durable) = durable {
            if self.refused.is_empty() {
                view.health().end_trouble(WRITE);
            }
            view.set_durable(durable);
            self.roller.durable_moved(durable);
        }
    }

    /// Submits what waits, as far as the device's depth and the segment allow. Returns whether anything was submitted.
    pub(super) fn submit(&mut self, view: &LogView, now: u64) -> bool {
        let retried = self.retry_refused(view, now);
        let mut submitted = false;
        self.roller.look_ahead(self.active.as_ref());
        while self.flight.len() < self.device.depth() && self.refused.is_empty() {
            // Readers find below `appended` whatever is durable: what they cannot see yet is not written.
            let is_readable = |block: &&OpenBlock| block.end_sequence() <= view.appended();
            let Some(block) = self.waiting.front().filter(is_readable) else { break };
            let bytes = block.block_bytes();
            if self.active.as_ref().is_none_or(|active| active.room() < bytes as u64) {
                // The header of the new segment takes a place of its own.
                if !self.roll(view, now) {
                    break;
                }
            } else if let Some(block) = self.waiting.pop_front() {
                self.submit_block(view, block);
            }
            submitted = true;
        }
        if !self.waiting.is_empty() {
            self.waited_at = Some(now);
        }
        retried || submitted
    }

    fn retry_refused(&mut self, view: &LogView, now: u64) -> bool {
        let writes = self.refused.take_due(now);
        if writes.is_empty() {
            return false;
        }
        view.health().set_space(Space::Left);
        writes.into_iter().for_each(|write| self.device.submit(write));
        true
    }

    /// Goes on in the spare segment, if there is one. Records in the view whether a full disk is in the way.
    fn roll(&mut self, view: &LogView, now: u64) -> bool {
        let front = self.waiting.front().map(|block| (block.writer.memory().first_sequence(), block.block_bytes()));
        let Some((first, block_bytes)) = front else { return false };
        view.health().set_space(self.roller.space());
        let Some(header) = self.roller.roll(view, &mut self.active, (first, block_bytes), now) else { return false };
        let Some(active) = &self.active else { return false };
        view.segment_list().add(Arc::clone(&active.segment));
        let file = Arc::clone(&active.file);
        let memory = Arc::clone(header.memory());
        self.send(Landing::Header(first), |token| Write { token, file, memory, length: PAGE_BYTES, offset: 0 });
        true
    }

    /// The durable sequence that a block states of the blocks before it: none at levels whose writes may be lost in any
    /// order.
    fn known_durable(&self, view: &LogView) -> Sequence {
        match self.durability {
            Durability::Durable => view.durable(),
            Durability::PageCache | Durability::Memory => Sequence::ZERO,
        }
    }

    fn submit_block(&mut self, view: &LogView, mut block: OpenBlock) {
        let durable = self.known_durable(view);
        let Some(active) = &mut self.active else { return };
        let segment = Arc::clone(&active.segment);
        let header = block.finish(segment.epoch(), active.previous_crc(), durable);
        let block_bytes = header.block_bytes as usize;
        let offset = active.take(&header);
        let file = Arc::clone(&active.file);
        let landing = Landing::Block {
            segment,
            place: BlockPlace::of(&header, offset),
            data_end: offset + block_bytes as u64,
            end: header.end_sequence(),
            opened_at: block.opened_at,
        };
        let memory = Arc::clone(block.writer.memory());
        self.send(landing, |token| Write { token, file, memory, length: block_bytes, offset });
    }

    /// Submits a write that is given its token.
    fn send(&mut self, landing: Landing, write: impl FnOnce(u64) -> Write) {
        let token = self.flight.add(landing);
        self.device.submit(write(token));
    }

    pub(super) fn next_chore(&mut self, now: u64) -> Option<Chore> {
        self.roller.next_chore(now)
    }

    #[cfg(test)]
    pub(super) fn is_tidy(&self) -> bool {
        self.roller.is_tidy()
    }

    /// The next tidying chore, if there is one and the device is calm: tidying reads from the device that blocks are
    /// waiting for.
    pub(super) fn next_tidying(&mut self, view: &LogView, now: u64) -> Option<Chore> {
        let is_calm = self.waited_at.is_none_or(|waited| now.saturating_sub(waited) >= LogOptions::CALM_NS);
        if is_calm { self.roller.next_tidying(view, now) } else { None }
    }

    #[cfg(test)]
    pub(super) fn want_merging(&mut self) {
        self.roller.want_merging();
    }

    /// Has the tidying chore that runs end early, if one does.
    pub(super) fn abandon_tidying(&self) {
        self.roller.abandon_tidying();
    }

    /// Gives up the sealed segments that end at `to` or before.
    pub(super) fn trim(&mut self, view: &LogView, to: Sequence) {
        self.roller.trim(view, to);
    }

    /// Wants an index for a segment that was sealed before and has none.
    pub(super) fn tidy(&mut self, segment: Arc<Segment>) {
        self.roller.tidy(segment);
    }

    pub(super) fn chore_done(&mut self, view: &LogView, done: ChoreDone, now: u64) {
        self.roller.chore_done(view, done, now);
    }

    /// Seals the active segment and clears the spare away. Nothing may wait or be in flight, unless the log is
    /// poisoned: then everything is left as it is for recovery.
    pub(super) fn close(&mut self, view: &LogView, clock: impl FnMut() -> u64) {
        if view.poison().is_none() {
            self.roller.close(view, self.active.as_ref(), clock);
        }
    }
}
