//! The blocks that a shard has written since it rang the followers of sessions.
//!
//! They are lent, as those of feeds are: the log cannot fill their memory again, and has enough without them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tapeline_storage::device::BlockMemory;
use tapeline_storage::format::{RecordView, Sequence};
use tapeline_storage::log::{LentBlock, LogView};

/// Blocks that are kept at most: a few more than those whose writes are in flight at a server's rate.
const BLOCKS_MAX: usize = 8;

/// Blocks, ascending.
#[derive(Debug, Default)]
pub(super) struct NewBlocks(VecDeque<LentBlock>);

impl NewBlocks {
    /// Keeps a block of `view` that was begun, if it may be lent.
    pub(super) fn keep(&mut self, view: &LogView, block: &Arc<BlockMemory>) {
        if self.0.len() == BLOCKS_MAX {
            let _ = self.0.pop_front();
        }
        self.0.extend(view.lend(Arc::clone(block)));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets blocks whose records all lie below this sequence, but for the last, which may grow.
    pub(super) fn forget_below(&mut self, sequence: Sequence) {
        while self.0.len() > 1 && self.0.front().is_some_and(|block| end_of(block) <= sequence) {
            let _ = self.0.pop_front();
        }
    }

    /// Shows the records of these sequences, which are visible, until `visit` returns `false`. Returns whether it has
    /// shown all of them.
    pub(super) fn visit(
        &self,
        sequences: &Range<Sequence>,
        mut visit: impl FnMut(Sequence, &RecordView<'_>) -> bool,
    ) -> bool {
        let mut next = sequences.start;
        for block in &self.0 {
            let (first, end) = (block.first_sequence(), end_of(block).min(sequences.end));
            if end <= next {
                continue;
            }
            if next < first {
                return false;
            }
            let (from, to) = (next.since(first) as usize, end.since(first) as usize);
            let mut records = block.records(from, to, block.bytes_of(from), block.bytes_of(to)).zip(next.get()..);
            if !records.all(|(record, at)| record.is_ok_and(|record| visit(Sequence::new(at), &record))) {
                return false;
            }
            next = end;
        }
        next == sequences.end
    }
}

/// The sequence after the last record of a block that is visible.
fn end_of(block: &BlockMemory) -> Sequence {
    block.first_sequence().plus(block.visible().0 as u64)
}
