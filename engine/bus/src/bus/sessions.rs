//! The sessions of a bus's log, as they are at present.

use std::sync::Arc;

use tapeline_reader::contents::Contents;
use tapeline_reader::{ConsumerResult, SessionState, SessionSummary};
use tapeline_storage::format::SessionId;
use tapeline_storage::log::LogView;

use crate::bus_core::BusCore;

/// All of them.
pub(super) fn all(core: &BusCore) -> ConsumerResult<Vec<SessionSummary>> {
    let mut contents = Contents::default();
    views(core).iter().try_for_each(|view| contents.add_shard(view))?;
    Ok(finished(core, contents))
}

/// One of them.
pub(super) fn one(core: &BusCore, session: SessionId) -> ConsumerResult<Option<SessionSummary>> {
    let mut contents = Contents::default();
    views(core).iter().try_for_each(|view| contents.add_session(view, session))?;
    Ok(finished(core, contents).pop())
}

fn views(core: &BusCore) -> Vec<Arc<LogView>> {
    core.shards().views().collect()
}

/// The sessions with names that stand nowhere but in the log's file of names, and with those that were cut off.
fn finished(core: &BusCore, mut contents: Contents) -> Vec<SessionSummary> {
    core.readers().names.each(|session, name| contents.name(session, name.to_owned()));
    let mut sessions = contents.into_sessions();
    let written_before = core.producers().timestamp_floor();
    for summary in &mut sessions {
        if summary.state == SessionState::Open && summary.last_insertion_ts <= written_before {
            summary.state = SessionState::CutOff;
        }
    }
    sessions
}
