//! The search for the events of some sessions: segments and blocks that hold none are passed over.
//!
//! The index of a sealed segment says where they are; of the active one the shard's thread lists its blocks.

use std::io;

use super::{LogView, Segment, active};
use crate::format::{Sequence, SessionId};

/// Passes over what cannot hold events of its sessions. For one shard, going forward.
#[derive(Debug, Clone)]
pub struct SessionSeek {
    sessions: Vec<SessionId>,
    /// The segment, or the part of one, that was looked at last.
    known: Option<Known>,
}

/// The facts known of one sealed segment, or of a part of the active one.
#[derive(Debug, Clone)]
struct Known {
    base: Sequence,
    end: Sequence,
    /// Ranges of sequences that can hold events of the sessions, ascending.
    stretches: Vec<(Sequence, Sequence)>,
}

impl SessionSeek {
    /// For these sessions.
    pub fn new(mut sessions: Vec<SessionId>) -> Self {
        // Notes concern the readers of all sessions. Filters list them as one.
        sessions.push(SessionId::NOTES);
        Self { sessions, known: None }
    }

    /// The first sequence at or after `from` that may be an event of one of the sessions, or the end of what is
    /// readable. Notes of the bus, which concern all sessions, and gaps are not passed over. Where there is no index,
    /// nothing is.
    ///
    /// Costs one look at a segment's filter, and where that does not rule it out one at its index.
    pub fn next(&mut self, view: &LogView, from: Sequence) -> Sequence {
        let mut from = from;
        // The reader reports what is gone.
        while from >= view.trimmed()
            && let Some(known) = self.know(view, from)
        {
            let after = known.stretches.partition_point(|(_, end)| *end <= from);
            if let Some((start, _)) = known.stretches.get(after) {
                return from.max(*start);
            }
            from = known.end;
        }
        from
    }

    /// Finds the facts known around `from`. `None` if there are none.
    fn know(&mut self, view: &LogView, from: Sequence) -> Option<&Known> {
        let holds = |known: &Known| (known.base..known.end).contains(&from);
        if !self.known.as_ref().is_some_and(holds) {
            let segment = view.segment_of(from).filter(|segment| from < segment.end_sequence())?;
            self.known = match segment.footer() {
                Some(_) => Known::look(&segment, &self.sessions).ok().flatten(),
                None => Known::look_active(&segment, &self.sessions, from),
            };
        }
        self.known.as_ref()
    }
}

impl Known {
    fn look_active(segment: &Segment, sessions: &[SessionId], from: Sequence) -> Option<Self> {
        let active::Places { stretches, end } = segment.active_places(sessions, from)?;
        Some(Self { base: from, end, stretches })
    }

    fn look(segment: &Segment, sessions: &[SessionId]) -> io::Result<Option<Self>> {
        let Some(footer) = segment.footer() else { return Ok(None) };
        let known = |stretches| Self { base: segment.base(), end: footer.end_sequence, stretches };
        if !segment.may_hold_any(sessions) {
            return Ok(Some(known(Vec::new())));
        }
        segment.with_index(|index| {
            let of_session =
                |session: &SessionId| index.session(*session).into_iter().flat_map(|it| index.blocks_of(it));
            let notes = index.notes.iter().map(|block| block.to_native());
            let mut blocks: Vec<u32> = sessions.iter().flat_map(of_session).chain(notes).collect();
            blocks.sort_unstable();
            blocks.dedup();
            let start =
                |block: usize| index.blocks.get(block).map(|block| Sequence::new(block.first_sequence.to_native()));
            let stretch = |block: u32| {
                let end = start(block as usize + 1).unwrap_or(footer.end_sequence);
                Some((start(block as usize)?, end))
            };
            known(blocks.into_iter().filter_map(stretch).collect())
        })
    }
}
