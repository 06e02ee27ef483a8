//! The times at which a log was written to: the number of events in each stretch of time.
//!
//! Out of the times that blocks and segments say of themselves. Only a block that reaches over more than one stretch is
//! read.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tapeline_storage::log::{Grain, LogView, Span};
use tapeline_storage::read::{LogReader, ReadError, Step};

use super::LogFiles;
use crate::error::ConsumerResult;

impl LogFiles {
    /// From the time of the earliest event to that of the latest, in nanoseconds since the Unix epoch, notes of
    /// the bus and events that open sessions included. `None` for a log without events. Costs a look at each segment.
    ///
    /// # Errors
    /// [`ConsumerError::Read`](crate::ConsumerError::Read) where block headers cannot be read.
    pub fn time_range(&self) -> ConsumerResult<Option<RangeInclusive<u64>>> {
        let mut range: Option<RangeInclusive<u64>> = None;
        self.for_each_span(Grain::Segment, |_, span| {
            let (first, last) = (span.first_timestamp, span.last_timestamp);
            range = Some(match &range {
                Some(range) => first.min(*range.start())..=last.max(*range.end()),
                None => first..=last,
            });
        })?;
        Ok(range)
    }

    /// Counts the events in each stretch of a `width` of at least 1 ns, by its start, in nanoseconds since the Unix
    /// epoch, which is a multiple of the width; stretches without events are left out.
    ///
    /// Costs about 1 us a block that lies within one stretch. The events of one that does not are read, which is common
    /// in a segment that was rewritten densely. Where they cannot be read they count as spread evenly over the time of
    /// the block.
    ///
    /// # Errors
    /// [`ConsumerError::Read`](crate::ConsumerError::Read) where block headers cannot be read.
    pub fn activity(&self, width: Duration) -> ConsumerResult<BTreeMap<u64, u64>> {
        let (mut counts, width) = (BTreeMap::new(), u64::try_from(width.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.for_each_span(Grain::Block, |view, span| {
            if span.first_timestamp / width == span.last_timestamp / width || !count(view, span, width, &mut counts) {
                spread(span, width, &mut counts);
            }
        })?;
        Ok(counts)
    }

    fn for_each_span(&self, grain: Grain, mut each: impl FnMut(&Arc<LogView>, &Span)) -> ConsumerResult<()> {
        for view in self.views() {
            let mut next = view.trimmed();
            while next < view.appended() {
                match view.span(next, view.appended(), grain).map_err(|error| unreadable(view, error))? {
                    // A stretch whose headers do not check has no times; reading reports the fault.
                    Some(span) if !span.has_times => next = span.end,
                    Some(span) => {
                        each(view, &span);
                        next = span.end;
                    }
                    None => break,
                }
            }
        }
        Ok(())
    }
}

/// Adds the events of a span that is one block, each at its time. Returns whether they could be read; if not, none is
/// added.
fn count(view: &Arc<LogView>, span: &Span, width: u64, counts: &mut BTreeMap<u64, u64>) -> bool {
    let Ok(Step::Block(block)) = LogReader::new(Arc::clone(view), span.first).step() else { return false };
    let events = span.end.since(span.first);
    let times: Vec<_> =
        block.records().take(events as usize).map_while(|record| Some(record.ok()?.timestamp())).collect();
    if block.first_sequence() != span.first || times.len() as u64 != events {
        return false;
    }
    // Most follow one in the same stretch.
    let mut run = (0, 0);
    for start in times.into_iter().map(|time| time / width * width) {
        if start != run.0 {
            add(run, counts);
            run = (start, 0);
        }
        run.1 += 1;
    }
    add(run, counts);
    true
}

fn add((start, events): (u64, u64), counts: &mut BTreeMap<u64, u64>) {
    if events > 0 {
        *counts.entry(start).or_insert(0) += events;
    }
}

/// Adds the events of a span, spread evenly over its time.
fn spread(span: &Span, width: u64, counts: &mut BTreeMap<u64, u64>) {
    let (events, first) = (span.end.since(span.first), span.first_timestamp);
    let length = u128::from(span.last_timestamp.saturating_sub(first)) + 1;
    for number in 0..events {
        let after = u128::from(number) * length / u128::from(events);
        // Less than the span is long.
        let time = first + after as u64;
        add((time / width * width, 1), counts);
    }
}

fn unreadable(view: &Arc<LogView>, source: std::io::Error) -> ReadError {
    ReadError::Io { shard_id: view.shard(), segment: "headers".into(), offset: 0, source }
}

#[cfg(test)]
mod tests {
    use tapeline_storage::format::Sequence;

    use super::*;

    #[test]
    fn events_of_a_block_are_spread_over_its_time_and_none_is_lost() {
        let span = |events: u64, first_timestamp, last_timestamp| Span {
            first: Sequence::new(7),
            end: Sequence::new(7 + events),
            first_timestamp,
            last_timestamp,
            has_times: true,
            is_block: true,
        };
        let spread = |span| {
            let mut counts = BTreeMap::new();
            spread(&span, 10, &mut counts);
            counts.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(spread(span(5, 12, 12)), [(10, 5)]);
        assert_eq!(spread(span(40, 10, 49)), [(10, 10), (20, 10), (30, 10), (40, 10)]);
        assert_eq!(spread(span(1, 10, 99)).iter().map(|(_, count)| count).sum::<u64>(), 1);
        assert_eq!(spread(span(1000, 15, 24)), [(10, 500), (20, 500)]);
        // All of time, of which few stretches have an event.
        assert_eq!(spread(span(2, 0, u64::MAX)), [(0, 1), ((1 << 63) / 10 * 10, 1)]);
        assert_eq!(spread(span(3, u64::MAX, u64::MAX)), [(u64::MAX / 10 * 10, 3)]);
    }
}
