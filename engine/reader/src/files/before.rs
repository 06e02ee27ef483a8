//! The events of a session before a place of its shard: found from there backwards, a block at a time.

use std::ops::Range;
use std::sync::Arc;

use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::Visibility;

use crate::event::StoredEvent;
use crate::filter::Selection;
use crate::replay::page::copy_events;
use crate::source::{Next, Source};

/// The events of a session in a stretch of a shard that has no gap.
#[derive(Debug)]
pub struct Stretch {
    /// The sequences that it has.
    pub range: Range<Sequence>,
    /// The events of the session among them, in order.
    pub events: Vec<StoredEvent>,
}

/// The stretch of a shard that has the record before `end`, and goes back to the beginning of that one's block at most.
/// It may go on after `end`. `None`: that record is gone, or cannot be read.
pub(super) fn stretch_before(view: &Arc<LogView>, session: SessionId, end: Sequence) -> Option<Stretch> {
    let selection = Selection::new(None, Some(&[session]), None, None).ok()?;
    let first = view.block_before(end).ok().flatten()?;
    let mut source = Source::at(view, first, Visibility::Appended);
    let (mut range, mut events) = (first..first, Vec::new());
    while range.end < end {
        match source.step().ok()? {
            Next::Block(block) => {
                let mut found = Vec::new();
                copy_events(view.log_shard(), &block, &selection, &mut found);
                events.extend(found.into_iter().collect::<Result<Vec<_>, _>>().ok()?);
                range.end = block.end_sequence();
            }
            Next::Gap(gap) => {
                events.clear();
                range = gap.to..gap.to;
            }
            Next::End => return None,
        }
    }
    (range.start < end).then_some(Stretch { range, events })
}
