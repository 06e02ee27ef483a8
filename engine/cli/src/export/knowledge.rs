//! The knowledge that a log has of its sessions beside their events: whether all that they have was handed out, and
//! whether the process that wrote a session came to its end.

use std::collections::HashMap;

use tapeline_reader::{Kind, LogFiles, SessionId, ShardSummary, kinds};

use super::lack::Lack;
use crate::select::Selection;

/// The kinds that answers are made of.
const PIECES: [Kind; 4] = [kinds::UNSPECIFIED, kinds::PART, kinds::TOKEN, kinds::TOOL_CALL];

/// The facts that are known of all sessions.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Events of each session; `None`: the selection does not ask for all of them, or they cannot be counted.
    events: Option<HashMap<SessionId, u64>>,
    /// The shards whose writer has not ended in order, and the first sequence that it wrote.
    open_from: HashMap<u16, u64>,
    /// A session that no event opens begins with its first event.
    has_beginnings: bool,
    /// The lack of every answer: the selection may leave out pieces between others.
    of_all: Option<Lack>,
    ends_early: bool,
}

/// The part of a session that was handed out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Events, those about the session not among them.
    pub(super) events: u64,
    /// The shard and sequence of the last one of any kind.
    pub(super) last: (u16, u64),
}

/// The end of a session, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SessionEnd {
    /// The lack of the last answer, if it has any.
    pub(super) lack: Option<Lack>,
    /// All of its events were handed out.
    pub(super) has_all: bool,
    /// The process that wrote it came to its end.
    pub(super) is_orderly: bool,
}

impl Knowledge {
    /// That of a log, as far as the selection asks for it. Costs two looks at each index.
    pub(super) fn of(log: &LogFiles, selection: &Selection) -> Self {
        let is_trimmed = log.shards().iter().any(|shard| shard.first.get() > 0);
        let counts = || {
            let sessions = log.sessions().ok()?;
            Some(sessions.iter().map(|session| (session.session, session.events)).collect())
        };
        let asks_for_all = selection.kind.is_empty() && selection.since.is_none() && selection.filter.is_none();
        let open_from = |shard: ShardSummary| Some((shard.shard_id, shard.open_from?.get()));
        Self {
            events: if asks_for_all { counts() } else { None },
            open_from: log.shards().into_iter().filter_map(open_from).collect(),
            has_beginnings: !is_trimmed && selection.since.is_none() && log.damage().is_empty(),
            of_all: leaves_pieces_out(log, selection).then_some(Lack::Selected),
            ends_early: selection.until.is_some(),
        }
    }

    /// Events are missing: sessions may have begun among them.
    pub(super) fn miss(&mut self) {
        self.has_beginnings = false;
    }

    /// The lack of a session's first answer, if no event opens it.
    pub(super) fn of_beginning(&self) -> Option<Lack> {
        if self.has_beginnings { None } else { Some(Lack::Beginning) }
    }

    /// The lack of every answer.
    pub(super) fn of_all(&self) -> Option<Lack> {
        self.of_all
    }

    /// The end of a session of which this was handed out.
    pub(super) fn end_of(&self, session: SessionId, seen: Seen) -> SessionEnd {
        let (shard, sequence) = seen.last;
        let there = self.events.as_ref().map(|events| events.get(&session).copied().unwrap_or(0));
        let has_more = there.is_some_and(|there| there > seen.events) || (there.is_none() && self.ends_early);
        let lack = if self.ends_early { Lack::Selected } else { Lack::Middle };
        SessionEnd {
            lack: has_more.then_some(lack),
            has_all: there == Some(seen.events),
            is_orderly: self.open_from.get(&shard).is_none_or(|from| sequence < *from),
        }
    }
}

/// Returns whether a selection may leave out what answers are made of.
fn leaves_pieces_out(log: &LogFiles, selection: &Selection) -> bool {
    let is_there = |kind: Kind| log.kinds().map_or(true, |kinds| kinds.iter().any(|known| known.kind == kind));
    let is_left_out = |kind: &Kind| !selection.kind.contains(kind) && is_there(*kind);
    selection.filter.is_some() || (!selection.kind.is_empty() && PIECES.iter().any(is_left_out))
}
