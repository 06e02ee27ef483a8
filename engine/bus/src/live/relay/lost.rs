//! Events that readers had seen and that a crash took: the point in a shard at which one was lost.
//!
//! A crash loses what its run had appended above the durable watermark, and the next run begins there and gives the
//! same sequences to other events. So a token whose event is not there is of a run that ended at or before its
//! sequence, and its time says which: it is not earlier than the last event that this run left, and earlier than the
//! first of the next, unless a clock was ahead and was set back in between, which the two events show. Nor is it
//! earlier than the log, or later than its present opening. A time that fits nowhere is that of an event that this log
//! never had.

use std::io;

use tapeline_storage::format::Sequence;
use tapeline_storage::log::{Grain, LogView, Span};
use tapeline_storage::read::ReadError;

use crate::bus_core::LogLifetime;

/// Events of several producers are stored almost in order of time: one that was lost may be earlier, by so many
/// nanoseconds, than the last that was not.
const DISORDER_NS: u64 = 1_000_000_000;

/// Where a clock was ahead, an event that was lost is later than the last that was not, by so many nanoseconds at most.
const UNWRITTEN_NS: u64 = 60_000_000_000;

/// The loss of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    /// The first sequence that was lost, with which a later run began.
    pub(super) next: Sequence,
    /// The event was later than those that were stored after the crash.
    pub(super) is_clock_ahead: bool,
}

/// The events on both sides of the beginning of a run.
#[derive(Debug, Clone, Copy)]
struct Seam {
    next: Sequence,
    /// The time of the last event before, if it is there; at the beginning of the log, of its making.
    last: Option<u64>,
    /// The time of the first event after, if there is one.
    first: Option<u64>,
    /// A clock was set back in between.
    was_set_back: bool,
    /// The opening by the present run.
    opened: u64,
}

/// The loss of the event of this sequence and time. `None`: no crash explains that it is not there.
///
/// # Errors
/// The kernel's, where block headers cannot be read.
pub(super) fn explain(view: &LogView, log: LogLifetime, at: Sequence, time: u64) -> Result<Option<Loss>, ReadError> {
    let starts = view.run_starts(at).into_iter();
    let seams: Vec<_> = starts.map(|next| Seam::at(view, log, next)).collect::<Result<_, _>>()?;
    let explained = |disorder| seams.iter().find(|seam| seam.explains(time, disorder));
    // The first that fits: a reader rather repeats events than skips them.
    Ok(explained(0).or_else(|| explained(DISORDER_NS)).map(|seam| {
        let is_clock_ahead = seam.first.is_some_and(|first| first <= time);
        Loss { next: seam.next, is_clock_ahead }
    }))
}

impl Seam {
    fn at(view: &LogView, log: LogLifetime, next: Sequence) -> Result<Self, ReadError> {
        let opened = log.opened;
        let times = |from: Sequence, to| -> Result<Option<Span>, ReadError> {
            let span = view.span(from, to, Grain::Block).map_err(|error| unreadable(view, error))?;
            Ok(span.filter(|span| span.has_times))
        };
        let first = times(next, view.appended())?.map(|span| span.first_timestamp);
        Ok(match next.get().checked_sub(1) {
            None => Self { next, last: Some(log.created), first, was_set_back: false, opened },
            Some(before) => {
                let last = times(Sequence::new(before), next)?.map(|span| span.last_timestamp);
                let was_set_back = last.zip(first).is_some_and(|(last, first)| last > first);
                Self { next, last, first, was_set_back, opened }
            }
        })
    }

    fn explains(self, time: u64, disorder: u64) -> bool {
        let Self { next, last, first, was_set_back, opened } = self;
        // No event of a log is earlier than its making.
        let disorder = if next == Sequence::ZERO { 0 } else { disorder };
        // A clock that was ahead may have been set back before the opening.
        let is_before_opening = time < opened || last.is_some_and(|last| last > opened);
        let is_before_next = first.is_none_or(|first| time < first);
        let is_close = last.is_some_and(|last| time <= last.saturating_add(UNWRITTEN_NS));
        last.is_none_or(|last| last.saturating_sub(disorder) <= time)
            && is_before_opening
            && (is_before_next || (was_set_back && is_close))
    }
}

pub(super) fn unreadable(view: &LogView, source: io::Error) -> ReadError {
    ReadError::Io { shard_id: view.shard(), segment: "headers".into(), offset: 0, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time at which the log was opened.
    const OPENED: u64 = 1_000_000_000_000;

    fn seam(next: u64, last: u64, first: impl Into<Option<u64>>) -> Seam {
        let first = first.into();
        let was_set_back = first.is_some_and(|first| last > first);
        Seam { next: Sequence::new(next), last: Some(last), first, was_set_back, opened: OPENED }
    }

    fn explains(last: u64, first: impl Into<Option<u64>>, time: u64) -> bool {
        seam(7, last, first).explains(time, 0)
    }

    #[test]
    fn event_was_lost_between_the_last_of_its_run_and_the_first_of_the_next() {
        assert!(explains(10, 20, 10) && explains(10, 20, 19) && explains(10, None, OPENED - 1));
        assert!(!explains(10, 20, 9) && !explains(10, 20, 20));
        assert!(seam(7, 10, 20).explains(9, 1) && !seam(7, 10, 20).explains(8, 1));
    }

    #[test]
    fn no_event_was_lost_before_the_log_was_made_or_after_it_was_opened() {
        assert!(seam(0, 10, None).explains(10, 1) && !seam(0, 10, None).explains(9, 1));
        assert!(!explains(10, None, OPENED) && !seam(0, 10, None).explains(OPENED, DISORDER_NS));
    }

    #[test]
    fn event_of_a_clock_that_was_ahead_is_later_than_what_follows() {
        let ahead = 3_600_000_000_000;
        assert!(explains(ahead, 20, ahead) && explains(ahead, 20, ahead + UNWRITTEN_NS));
        assert!(!explains(ahead, 20, ahead + UNWRITTEN_NS + 1) && !explains(ahead, 20, 20));
    }
}
