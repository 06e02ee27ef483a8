//! Trimming a shard's log that no process writes.

use super::names::GAPS_NAME;
use super::{LogView, OpenError, Segment, gaps};
use crate::device::Directory;
use crate::format::Sequence;

/// The end of the last sealed segment of those at the front that end at `to` or before. `None` where there is none.
pub(super) fn cut(view: &LogView, to: Sequence) -> Option<Sequence> {
    let ends = |segment: &Segment| segment.footer().is_some() && segment.end_sequence() <= to;
    let last = view.segments().into_iter().take_while(|segment| ends(segment)).last()?;
    // What is lost between that segment and the next is as gone.
    let next = view.segment_after(last.base()).map_or(view.durable(), |next| next.base());
    Some(next.max(last.end_sequence()).min(view.durable()))
}

/// Gives up the sealed segments of a log at rest that end at `to` or before, and removes their files. Blocks.
///
/// # Errors
/// [`OpenError`]; what was not removed goes when the log is opened for writing, or trimmed again.
pub fn trim_at_rest(directory: &dyn Directory, view: &LogView, to: Sequence) -> Result<(), OpenError> {
    let Some(to) = cut(view, to) else { return Ok(()) };
    let path = |name: &str| format!("{}/{name}", directory.path());
    let mut gaps = gaps::read(directory, view.log_shard())?;
    gaps.trim(to);
    gaps::write(directory, view.log_shard(), &mut gaps).map_err(OpenError::io("write", path(GAPS_NAME)))?;
    for name in view.trim(to) {
        gaps::remove(directory, &name).map_err(OpenError::io("remove", path(&name)))?;
    }
    Ok(())
}
