//! Events where they lie.

use std::sync::Arc;

use tapeline_storage::format::Sequence;
use tapeline_storage::read::Block;

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

    /// The events that were asked for, and a gap for each record that does not check. Costs about 3 ns for each record,
    /// and the filter.
    pub fn events(&self) -> impl Iterator<Item = Result<EventView<'_>, Gap>> {
        let mut next = self.block.first_sequence();
        self.block.records().filter_map(move |record| {
            let sequence = next;
            next = sequence.plus(1);
            match record {
                Ok(record) => {
                    let event = EventView::new(self.shard_id, sequence, record);
                    self.selection.matches(&event).then_some(Ok(event))
                }
                Err(error) => Some(Err(Gap {
                    shard_id: self.shard_id,
                    from: sequence,
                    to: sequence.plus(1),
                    reason: GapReason::Corrupt(error.to_string()),
                })),
            }
        })
    }
}
