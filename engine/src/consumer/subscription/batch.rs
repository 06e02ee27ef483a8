//! Events where they lie.

use std::sync::Arc;

use tapeline_storage::format::{RecordError, Records, Sequence};
use tapeline_storage::read::Block;

use super::super::filter::CompiledFilter;
use super::super::gap::{Gap, GapReason};
use super::super::selection::Selection;
use crate::event::EventView;

/// Events of one block of one shard, in order, uncopied. Holding on to it holds on to the block's memory.
#[derive(Debug, Clone)]
pub struct EventBatch {
    shard_id: u16,
    block: Block,
    selection: Arc<Selection>,
}

impl EventBatch {
    pub(super) fn new(shard_id: u16, block: Block, selection: Arc<Selection>) -> Self {
        Self { shard_id, block, selection }
    }

    /// The shard.
    pub fn shard_id(&self) -> u16 {
        self.shard_id
    }

    /// Sequence of the first event, whether it was asked for or not.
    pub fn first_sequence(&self) -> Sequence {
        self.block.first_sequence()
    }

    /// Events in the block, those that were not asked for included.
    pub fn scanned(&self) -> usize {
        self.block.count()
    }

    /// The events that were asked for, and a gap for each record that does not check. Costs 7 to 12 ns for each record of 64 bytes,
    /// and the filter besides.
    #[inline]
    pub fn events(&self) -> Events<'_> {
        Events {
            shard_id: self.shard_id,
            next: self.block.first_sequence(),
            records: self.block.records(),
            filter: self.selection.filter(),
        }
    }
}

/// Iterates over the events of a batch.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    shard_id: u16,
    /// Sequence of the next record.
    next: Sequence,
    records: Records<'a>,
    filter: Option<&'a CompiledFilter>,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventView<'a>, Gap>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = self.records.next()?;
            let sequence = self.next;
            self.next = sequence.plus(1);
            let event = match record {
                Ok(record) => EventView::new(self.shard_id, sequence, record),
                Err(error) => return Some(Err(self.gap(sequence, &error))),
            };
            if self.filter.is_none_or(|filter| filter.matches(&event)) {
                return Some(Ok(event));
            }
        }
    }
}

impl Events<'_> {
    #[cold]
    fn gap(&self, from: Sequence, error: &RecordError) -> Gap {
        let reason = GapReason::Corrupt(error.to_string());
        Gap { shard_id: self.shard_id, from, to: from.plus(1), reason }
    }
}
