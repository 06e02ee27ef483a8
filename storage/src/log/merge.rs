//! Merging: small sealed segments that follow each other become one, as those of short openings do.
//!
//! [`choose`] picks the segments so that a log that was opened n times with little to write has about n / 125 segments,
//! and every event is written anew about as often as its segment doubles. A merged segment stays small enough, in bytes
//! and in time, for retention to go on in small steps.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::files::SegmentFiles;
use super::names::REPACK_NAME;
use super::permit::Permit;
use super::rewrite::{NewSegment, SegmentWriter, dense_bytes};
use super::{Segment, blocks};
use crate::format::{Epoch, Footer, PAGE_BYTES, RunStart, SEGMENT_RUNS_MAX, SegmentHeader, Sequence};

/// A merged segment takes at most one in so many bytes of a new segment's length.
const SEGMENT_PART: u64 = 4;

/// At the end of a log so many segments at least become one.
const COUNT_MIN: usize = 8;

/// The events of a merged segment span so many nanoseconds at most, an hour, ...
const SPAN_NS: u64 = 3_600_000_000_000;

/// ... or one in so many nanoseconds of their age: they are removed by age that much later at most.
const SPAN_PART: u64 = 8;

/// The measures of a sealed segment that count here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    sequences: (Sequence, Sequence),
    times: (u64, u64),
    /// Bytes that it would have with full blocks.
    bytes: u64,
    runs: usize,
}

impl Part {
    /// `None` for a segment that is not sealed.
    pub(super) fn of(segment: &Arc<Segment>) -> Option<Self> {
        let footer = segment.footer()?;
        Some(Self {
            sequences: (footer.base_sequence, footer.end_sequence),
            times: (footer.first_timestamp, footer.last_timestamp),
            bytes: dense_bytes(footer) + PAGE_BYTES as u64,
            runs: 1 + segment.later_runs().len(),
        })
    }

    fn and(self, next: Self) -> Self {
        Self {
            sequences: (self.sequences.0, next.sequences.1),
            times: (self.times.0.min(next.times.0), self.times.1.max(next.times.1)),
            bytes: self.bytes.saturating_add(next.bytes),
            runs: self.runs + next.runs,
        }
    }
}

/// Limits of merging.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    bytes: u64,
    /// The present time, in nanoseconds.
    now: u64,
}

/// The reason for which a group of segments does not take in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is none yet.
    Open,
    /// The events would span too much of their age, which grows.
    Span,
    /// It never will.
    Closed,
}

impl Limits {
    pub(super) fn new(segment_bytes: u64, now: u64) -> Self {
        Self { bytes: segment_bytes / SEGMENT_PART, now }
    }

    /// The share of a full segment that a part is, in bytes and in runs.
    fn weight(&self, part: &Part) -> u128 {
        let (bytes, runs) = (u128::from(part.bytes), part.runs as u128);
        (bytes * SEGMENT_RUNS_MAX as u128).max(runs * u128::from(self.bytes))
    }

    /// The two as one, or why they are not to be.
    fn join(&self, group: Part, next: Part) -> Result<Part, End> {
        let all = group.and(next);
        let (first, last) = all.times;
        if group.sequences.1 != next.sequences.0 || all.bytes > self.bytes || all.runs > SEGMENT_RUNS_MAX {
            return Err(End::Closed);
        }
        let span_max = SPAN_NS.max(self.now.saturating_sub(last) / SPAN_PART);
        if last.saturating_sub(first) > span_max { Err(End::Span) } else { Ok(all) }
    }

    /// The group that begins with `parts[from]`: its end, and why it ends there.
    fn group(&self, parts: &[Part], from: usize) -> (usize, End) {
        let mut all = parts[from];
        for (at, next) in parts.iter().enumerate().skip(from + 1) {
            match self.join(all, *next) {
                Ok(joined) => all = joined,
                Err(end) => return (at, end),
            }
        }
        (parts.len(), End::Open)
    }
}

/// Chooses the segments to merge next, if any are.
///
/// From the oldest on, as many neighbours as fit into one segment are a group. One that can grow no more is merged
/// whole, once. Of one that still grows, the last so many are merged of which none is more than half of all: so that
/// the segment that an event lies in doubles each time that the event is written anew.
pub(super) fn choose(parts: &[Part], limits: &Limits) -> Option<Range<usize>> {
    let mut from = 0;
    while from < parts.len() {
        let (end, why) = limits.group(parts, from);
        let chosen = match why {
            End::Closed => (end - from > 1).then_some(from),
            End::Open | End::Span => (from..end).find(|&from| is_doubled(&parts[from..end], limits)),
        };
        if let Some(from) = chosen {
            return Some(from..end);
        }
        from = end;
    }
    None
}

/// Returns whether there are enough of them, and none is more than half.
fn is_doubled(parts: &[Part], limits: &Limits) -> bool {
    let weights = || parts.iter().map(|part| limits.weight(part));
    parts.len() >= COUNT_MIN && weights().max().unwrap_or(0) * 2 <= weights().sum::<u128>()
}

/// Sealed segments, each where the one before ends, that are to become one.
#[derive(Debug, Clone)]
pub(super) struct Merging {
    pub(super) files: Arc<SegmentFiles>,
    /// At least two.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Of the merged segment.
    pub(super) epoch: Epoch,
    pub(super) permit: Arc<Permit>,
}

/// The outcome of a merge.
#[derive(Debug)]
pub(super) enum MergeEnd {
    /// The segment holds what was in all of them; the files of these names are no part of the log any more.
    Merged(Arc<Segment>, Vec<String>),
    /// They are as they were. Segments up to this sequence are not to be merged, since that failed.
    Failed(Sequence),
    /// They are as they were, because the log ends.
    Abandoned,
}

impl Merging {
    /// Name of the first, and of the merged one.
    pub(super) fn name(&self) -> String {
        self.segments.first().map_or_else(String::new, |first| Segment::file_name(first.base()))
    }

    /// Writes the merged segment, which is complete and durable before it takes the first one's name: a crash before
    /// leaves a file that is nothing, a crash after it files that are no part of the log any more. Memory: some blocks,
    /// and the index.
    pub(super) fn run(self, goes_on: &mut dyn FnMut() -> bool) -> MergeEnd {
        let mut is_abandoned = false;
        let mut check = || {
            is_abandoned = is_abandoned || self.permit.is_withdrawn() || !goes_on();
            if is_abandoned { Err(io::Error::other("the log ends")) } else { Ok(()) }
        };
        let end = self.segments.last().map_or(Sequence::ZERO, |last| last.end_sequence());
        if let Ok(Some(merged)) = self.put_in_place(&mut check) {
            let names = self.segments.iter().skip(1).map(|segment| Segment::file_name(segment.base())).collect();
            return MergeEnd::Merged(merged, names);
        }
        let _ = self.files.directory().remove(REPACK_NAME);
        if is_abandoned { MergeEnd::Abandoned } else { MergeEnd::Failed(end) }
    }

    /// `None` where the first one is being trimmed.
    fn put_in_place(&self, check: &mut dyn FnMut() -> io::Result<()>) -> io::Result<Option<Arc<Segment>>> {
        let merged = self.write(check)?;
        let directory = self.files.directory();
        let replaced = self.permit.replace(merged.base(), || directory.replace(REPACK_NAME, &self.name()));
        let is_replaced = match replaced {
            // A whole copy that has lost this name has taken the segment's, though the call says otherwise.
            Err(error) => match directory.remove(REPACK_NAME) {
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => true,
                _ => return Err(error),
            },
            Ok(is_replaced) => is_replaced,
        };
        Ok(is_replaced.then_some(merged))
    }

    fn write(&self, check: &mut dyn FnMut() -> io::Result<()>) -> io::Result<Arc<Segment>> {
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let footers: Option<Vec<&Footer>> = self.segments.iter().map(|segment| segment.footer()).collect();
        let footers = footers.ok_or(io::ErrorKind::InvalidInput)?;
        let length = PAGE_BYTES as u64 + footers.iter().copied().map(dense_bytes).sum::<u64>();
        let directory = &**self.files.directory();
        if directory.space()?.available() < length {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let header = SegmentHeader { epoch: self.epoch, is_merged: true, ..*first.header() };
        let later_runs = self.later_runs();
        let new = NewSegment { header, later_runs: later_runs.clone(), durable: last.end_sequence(), length };
        let mut writer = SegmentWriter::create(directory, REPACK_NAME, new)?;
        for (segment, footer) in self.segments.iter().zip(footers) {
            let file = segment.file()?;
            blocks::for_each(&*file, footer, |_, block| check().and_then(|()| writer.append(block)))?;
        }
        let (footer, filter) = writer.finish()?;
        if footer.end_sequence != last.end_sequence() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the copy holds other events than the segments"));
        }
        self.files.keep_filter(&footer, filter);
        Ok(Segment::sealed(header, &self.files, footer, &later_runs))
    }

    /// Beginnings of the runs after the first.
    fn later_runs(&self) -> Vec<RunStart> {
        let mut starts: Vec<_> = self.segments.iter().flat_map(|segment| segment.run_starts()).collect();
        starts.dedup_by_key(|start| start.run);
        starts.split_off(1.min(starts.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 << 20;

    fn part(first: u64, events: u64, bytes: u64) -> Part {
        Part { sequences: (Sequence::new(first), Sequence::new(first + events)), times: (first, first), bytes, runs: 1 }
    }

    /// Adds parts one by one and merges after each what is to be merged. Returns what is left, and how many runs were
    /// written anew.
    fn grow(parts: impl Iterator<Item = Part>, limits: impl Fn(&Part) -> Limits) -> (Vec<Part>, usize) {
        let (mut all, mut rewritten) = (Vec::new(), 0);
        for part in parts {
            all.push(part);
            let limits = limits(&part);
            while let Some(range) = choose(&all, &limits) {
                let merged = all[range.clone()].iter().copied().reduce(Part::and).expect("some");
                assert!(range.len() > 1 && merged.runs <= SEGMENT_RUNS_MAX && merged.bytes <= LIMIT);
                rewritten += merged.runs;
                all.splice(range, [merged]);
            }
        }
        (all, rewritten)
    }

    fn limits(now: u64) -> Limits {
        Limits::new(LIMIT * SEGMENT_PART, now)
    }

    #[test]
    fn many_openings_leave_few_segments_and_each_event_is_seldom_written_anew() {
        for count in [10, 100, 3_000, 20_000] {
            let (left, rewritten) = grow((0..count).map(|first| part(first, 1, 8192)), |_| limits(0));
            assert!(left.len() as u64 <= 20 + count / 200, "{count}: {} segments", left.len());
            assert!(rewritten as u64 <= count * 8, "{count}: {rewritten} written");
        }
    }

    #[test]
    fn segments_of_any_size_are_written_anew_as_often_as_they_double() {
        let mut random = crate::device::sim::Random::new(1);
        let (mut first, mut bytes) = (0, 0);
        let parts = (0..5_000).map(|_| {
            let size = 8192 << random.below(10);
            first += 1;
            bytes += size;
            part(first - 1, 1, size)
        });
        let (left, rewritten) = grow(parts.collect::<Vec<_>>().into_iter(), |_| limits(0));
        assert!(left.len() < 200, "{} segments", left.len());
        assert!(rewritten < 5_000 * 10, "{rewritten} written");
        let groups = left.windows(2).filter(|pair| pair[0].bytes + pair[1].bytes < LIMIT / 2).count();
        assert!(groups <= 20, "{groups} neighbours that would fit");
    }

    #[test]
    fn large_segments_and_those_apart_are_left_alone() {
        let large: Vec<_> = (0..20).map(|first| part(first, 1, LIMIT / 2 + 1)).collect();
        assert_eq!(choose(&large, &limits(0)), None);
        let apart: Vec<_> = (0..20).map(|first| part(first * 2, 1, 8192)).collect();
        assert_eq!(choose(&apart, &limits(0)), None);
        let closed = [part(0, 1, 8192), part(1, 1, 8192), part(2, 1, LIMIT)];
        assert_eq!(choose(&closed, &limits(0)), Some(0..2));
    }

    #[test]
    fn merged_segments_span_no_more_than_a_part_of_their_age() {
        const DAY: u64 = 24 * SPAN_NS;
        // One opening an hour, for a year.
        let hourly = |hour: u64| Part { times: (hour * SPAN_NS, hour * SPAN_NS), ..part(hour, 1, 8192) };
        let (left, rewritten) = grow((0..24 * 365).map(hourly), |last| limits(last.times.1));
        let now = 365 * DAY;
        for part in &left {
            let (age, span) = (now - part.times.1, part.times.1 - part.times.0);
            assert!(span <= SPAN_NS.max(age / SPAN_PART), "{age} old, spans {span}");
        }
        assert!(left.len() < 400, "{}", left.len());
        assert!(rewritten < 24 * 365 * 10, "{rewritten}");
    }
}
