//! The last event that a reader wants of a shard: found from the newest segment backwards, past those that do not hold
//! its sessions.

use std::ops::Range;
use std::sync::Arc;

use tapeline_storage::format::Sequence;
use tapeline_storage::log::LogView;
use tapeline_storage::read::{ReadError, Visibility};

use crate::event::StoredEvent;
use crate::filter::Selection;
use crate::replay::page::{Found, copy_events};
use crate::source::{Next, Source};

/// The last selected event of these shards by time, if there is one. Reads the segment that holds it, and those after
/// it that may hold its sessions.
///
/// # Errors
/// The kernel's, where a file cannot be read. What does not check holds none.
pub fn last_event(views: &[Arc<LogView>], selection: &Selection) -> Result<Option<StoredEvent>, ReadError> {
    let mut last: Option<StoredEvent> = None;
    for view in views {
        if let Some(event) = of_shard(view, selection)?
            && last.as_ref().is_none_or(|last| last.insertion_ts <= event.insertion_ts)
        {
            last = Some(event);
        }
    }
    Ok(last)
}

fn of_shard(view: &Arc<LogView>, selection: &Selection) -> Result<Option<StoredEvent>, ReadError> {
    // Events that no segment holds yet, and all events of a log in memory, come after the segments.
    let mut to = view.appended();
    for segment in view.segments().into_iter().rev() {
        let may_hold = selection.sessions().is_none_or(|sessions| segment.may_hold_any(sessions));
        if may_hold && let Some(last) = last_in(view, selection, segment.base().max(view.trimmed())..to)? {
            return Ok(Some(last));
        }
        to = segment.base();
    }
    last_in(view, selection, view.trimmed()..to)
}

fn last_in(
    view: &Arc<LogView>,
    selection: &Selection,
    range: Range<Sequence>,
) -> Result<Option<StoredEvent>, ReadError> {
    let mut source = Source::at(view, range.start, Visibility::Appended).seeking(selection);
    let (mut found, mut last) = (Vec::<Found>::new(), None);
    while source.next_sequence() < range.end {
        match source.step()? {
            Next::Block(block) => {
                copy_events(view.log_shard(), &block, selection, &mut found);
                last = found.drain(..).flatten().last().or(last);
            }
            Next::Gap(_) => {}
            Next::End => break,
        }
    }
    Ok(last)
}
