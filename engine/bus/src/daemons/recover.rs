//! The sessions that the log has for workers, and how far each has been processed: what a process begins with.

use std::collections::HashMap;
use std::sync::Arc;

use tapeline_capability::{CapabilitySet, RequiredCapability};
use tapeline_reader::contents::Contents;
use tapeline_reader::opening::last_openings;
use tapeline_reader::{ConsumerResult, Filter, Replay, ReplayRequest, kinds};
use tapeline_storage::format::SessionId;
use tapeline_storage::log::LogView;

use super::checkpoint::Checkpoint;
use super::shift::{Left, Shift};
use super::worker::ROUTED;
use crate::bus_core::{Begin, BusCore};

/// The routed sessions that are not over. All their workers have ended: they were of earlier processes. Costs as
/// [`EventBus::sessions_where`](crate::EventBus::sessions_where), and a pass over the notes of daemons.
///
/// # Errors
/// The kernel's, where files cannot be read.
pub(super) fn routed_sessions(
    core: &BusCore,
) -> ConsumerResult<Vec<(SessionId, RequiredCapability, CapabilitySet, Begin)>> {
    let views: Vec<_> = core.shards().views().collect();
    let openings = last_openings(&views, |each| core.readers().names.store().each(each));
    let mut sessions = HashMap::new();
    for (session, opening) in openings {
        let metadata = &opening.metadata;
        if let Some(needs) = metadata.requirement().filter(|_| metadata.labels.contains_key(ROUTED)) {
            sessions.insert(session, (needs, metadata.capabilities()));
        }
    }
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let mut contents = Contents::default();
    views.iter().try_for_each(|view| contents.add_shard(view))?;
    let ends = contents.into_sessions().into_iter().map(|summary| (summary.session, summary.last_insertion_ts));
    let (ends, notes) = (ends.collect::<HashMap<_, _>>(), Notes::read(core, &views)?);
    let found = sessions.into_iter().filter_map(|(session, (needs, source))| {
        let begin = notes.begin_of(session, *ends.get(&session)?)?;
        Some((session, needs, source, begin))
    });
    Ok(found.collect())
}

/// The notes of workers, read from the first to the last.
#[derive(Debug, Default)]
struct Notes {
    /// The last checkpoint of each worker, by the worker's session.
    last: HashMap<SessionId, (String, Shift)>,
    sessions: HashMap<SessionId, Place>,
}

/// The place of a routed session.
#[derive(Debug, Clone)]
enum Place {
    /// The worker of this session has it.
    With(SessionId),
    /// It was left there, and was closed at that time.
    At(Begin, Option<u64>),
}

impl Notes {
    fn read(core: &BusCore, views: &[Arc<LogView>]) -> ConsumerResult<Self> {
        let mut notes = Self::default();
        let request = ReplayRequest::new().filter(Filter::kind(kinds::DAEMON));
        let events = Replay::new(core.log_id(), views.to_vec(), &request)?.with_eras(core.eras());
        // Gaps stand for notes that were trimmed.
        for event in events.flatten() {
            // Notes of other kinds, and damaged ones, say nothing.
            if let Ok(Some(Checkpoint { cursor, shift: Some(shift), .. })) = Checkpoint::parse(&event.raw) {
                notes.add(event.session, cursor, shift);
            }
        }
        Ok(notes)
    }

    fn add(&mut self, worker: SessionId, cursor: String, shift: Shift) {
        if shift.begins {
            for (session, place) in &mut self.sessions {
                if let Place::With(other) = place
                    && *other == worker
                {
                    *place = Place::At(after(&self.last, worker, *session), None);
                }
            }
        }
        self.sessions.extend(shift.taken.iter().map(|session| (*session, Place::With(worker))));
        for Left { session, closed_at } in &shift.left {
            let begin = Begin::Cursor(shift.cursor_of(*session, &cursor).to_owned());
            self.sessions.insert(*session, Place::At(begin, *closed_at));
        }
        self.last.insert(worker, (cursor, shift));
    }

    /// The start of the next worker of a session whose last event is of this time. `None`: the session is over.
    fn begin_of(&self, session: SessionId, last_event: u64) -> Option<Begin> {
        match self.sessions.get(&session) {
            None => Some(Begin::Earliest),
            Some(Place::With(worker)) => Some(after(&self.last, *worker, session)),
            Some(Place::At(_, Some(closed_at))) if last_event <= *closed_at => None,
            Some(Place::At(begin, _)) => Some(begin.clone()),
        }
    }
}

/// After what the worker has processed of a session, by its last checkpoint.
fn after(last: &HashMap<SessionId, (String, Shift)>, worker: SessionId, session: SessionId) -> Begin {
    match last.get(&worker) {
        Some((cursor, shift)) => Begin::Cursor(shift.cursor_of(session, cursor).to_owned()),
        None => Begin::Earliest,
    }
}
