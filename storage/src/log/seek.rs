//! The search for the events of some sessions: segments and blocks that hold none are passed over.
//!
//! The index of a sealed segment says where they are; of the active one the shard's thread lists its blocks.

use std::io;

use rkyv::rend::u32_le;

use super::active::{self, STRETCHES_MAX};
use super::{LogView, Segment};
use crate::format::{Sequence, SessionId};

/// Passes over what cannot hold events of its sessions. For one shard, going forward.
#[derive(Debug, Clone)]
pub struct SessionSeek {
    sessions: Vec<SessionId>,
    /// The part of a segment that was looked at last.
    known: Option<Known>,
}

/// The facts known of a part of a segment.
#[derive(Debug, Clone)]
struct Known {
    base: Sequence,
    end: Sequence,
    /// Ranges of sequences that can hold events of the sessions, ascending, at most [`STRETCHES_MAX`].
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
                Some(_) => Known::look(&segment, &self.sessions, from).ok().flatten(),
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

    fn look(segment: &Segment, sessions: &[SessionId], from: Sequence) -> io::Result<Option<Self>> {
        let Some(footer) = segment.footer() else { return Ok(None) };
        if !segment.may_hold_any(sessions) {
            return Ok(Some(Self { base: segment.base(), end: footer.end_sequence, stretches: Vec::new() }));
        }
        segment.with_index(|index| {
            let start =
                |block: usize| index.blocks.get(block).map(|block| Sequence::new(block.first_sequence.to_native()));
            let first = index.blocks.partition_point(|block| block.first_sequence <= from.get()).saturating_sub(1);
            let of_session = |session: &SessionId| index.session(*session).map(|it| index.blocks_of(it));
            let lists = sessions.iter().filter_map(of_session).chain([&index.notes[..]]);
            // The first of each list suffice to know the first of all.
            let next = |list: &[u32_le]| {
                let at = list.partition_point(|block| (block.to_native() as usize) < first);
                list[at..].iter().take(STRETCHES_MAX).map(|block| block.to_native()).collect::<Vec<_>>()
            };
            let mut blocks: Vec<u32> = lists.flat_map(next).collect();
            blocks.sort_unstable();
            blocks.dedup();
            let after = |block: u32| start(block as usize + 1).unwrap_or(footer.end_sequence);
            let end = match blocks.get(STRETCHES_MAX - 1) {
                Some(last) => after(*last),
                None => footer.end_sequence,
            };
            blocks.truncate(STRETCHES_MAX);
            let stretch = |block: u32| Some((start(block as usize)?, after(block)));
            Self { base: from, end, stretches: blocks.into_iter().filter_map(stretch).collect() }
        })
    }
}
