//! A lane on its shard's side, and which of its events are acknowledged.

use std::collections::VecDeque;

use tapeline_storage::format::Sequence;
use tapeline_storage::log::Log;

use crate::lane::{LaneHandle, LaneReader};

/// "When the log is durable up to `end`, the lane is acknowledged up to `entry`."
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// First sequence of the block that was open: one mark for each block is enough.
    block: Sequence,
    end: Sequence,
    entry: u64,
}

#[derive(Debug)]
pub(super) struct LaneSlot {
    reader: LaneReader,
    is_released: bool,
    marks: VecDeque<Mark>,
}

impl LaneSlot {
    pub(super) fn new(reader: LaneReader) -> Self {
        Self { reader, is_released: true, marks: VecDeque::new() }
    }

    /// Copies up to about `budget` bytes of what is published now into the log. Returns how many events.
    ///
    /// What is published meanwhile is left for the next turn: to chase a producer that writes would stop it, because each
    /// look takes away the cache lines that it is writing to.
    pub(super) fn drain(&mut self, log: &mut Log, now: u64, budget: usize) -> usize {
        let (mut left, mut drained) = (budget, 0);
        while left > 0 {
            let run = self.reader.peek(budget);
            if run.lengths.is_empty() {
                break;
            }
            let (entries, bytes) = log.append(run.records, run.lengths, now);
            if entries == 0 {
                break;
            }
            self.reader.consume(entries);
            self.is_released = false;
            drained += entries;
            left = left.saturating_sub(bytes);
            if !self.reader.knows_more() {
                break;
            }
        }
        if drained > 0 {
            self.mark(log);
        }
        drained
    }

    fn mark(&mut self, log: &Log) {
        let mark = Mark { block: log.open_sequence(), end: log.next_sequence(), entry: self.reader.position() };
        match self.marks.back_mut() {
            Some(last) if last.block == mark.block => *last = mark,
            _ => self.marks.push_back(mark),
        }
    }

    /// Gives the room of what was drained back to the producer.
    pub(super) fn release(&mut self) {
        if !self.is_released {
            self.reader.release();
            self.is_released = true;
        }
    }

    pub(super) fn acknowledge(&mut self, durable: Sequence) {
        let mut entry = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.end <= durable) {
            entry = Some(mark.entry);
        }
        if let Some(entry) = entry {
            self.reader.acknowledge(entry);
        }
    }

    pub(super) fn close(&self) {
        self.reader.close();
    }

    pub(super) fn handle(&self) -> LaneHandle {
        self.reader.handle()
    }

    pub(super) fn has_pending(&self) -> bool {
        self.reader.has_pending()
    }

    /// The producer is gone, and all it published is acknowledged.
    pub(super) fn is_served(&self) -> bool {
        self.reader.is_drained() && self.marks.is_empty()
    }
}
