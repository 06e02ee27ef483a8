//! The events that a subscription has copied and not handed out.
//!
//! They are of one block, in order: the next block is copied once all of them are handed out, or taken back.

use std::collections::VecDeque;

use tapeline_reader::page::Found;
use tapeline_storage::format::Sequence;

/// Events of one block that wait to be handed out.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// The number of the reader that the block is of; of the last one, where none wait.
    pub(super) reader: usize,
    pub(super) found: VecDeque<Found>,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The first sequence that was not handed out.
    pub(super) fn next(&self) -> Option<Sequence> {
        self.found.front().map(|found| match found {
            Ok(event) => event.sequence,
            Err(gap) => gap.from,
        })
    }

    /// The same, if the events are of this reader.
    pub(super) fn next_of(&self, reader: usize) -> Option<Sequence> {
        self.next().filter(|_| reader == self.reader)
    }
}
