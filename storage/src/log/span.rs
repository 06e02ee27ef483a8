//! Spans: stretches of a log and the range of their times, for readers that look for a time.

use std::io;

use super::{LogView, Segment};
use crate::format::{PAGE_BYTES, Sequence};

/// Consecutive sequences, and the range of the times that their events can have: tight for a block that is closed,
/// never too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First sequence.
    pub first: Sequence,
    /// Sequence after the last.
    pub end: Sequence,
    /// No event is earlier: nanoseconds since the Unix epoch.
    pub first_timestamp: u64,
    /// No event is later.
    pub last_timestamp: u64,
    /// True if the times are those of events. Where no header states them they are all that there are: an event may
    /// have each of them, the last one too.
    pub has_times: bool,
    /// True if it is one block, or what is left of one.
    pub is_block: bool,
}

/// The length of the spans that a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// A sealed segment where there is one, else a block.
    Segment,
    /// A block. Costs about 1 us for each block of a sealed segment when its first is asked for.
    Block,
}

impl LogView {
    /// The span that begins with `from`, cut at `to`. `None` if `from` is not below `to` and what is readable, or is
    /// gone.
    ///
    /// # Errors
    /// The kernel's, where block headers cannot be read.
    pub fn span(&self, from: Sequence, to: Sequence, grain: Grain) -> io::Result<Option<Span>> {
        let to = to.min(self.appended());
        while self.trimmed() <= from && from < to {
            let span = match self.span_in_memory(from) {
                Some(span) => Some(span),
                None => self.span_on_disk(from, grain)?,
            };
            // Not found: the log moved on between two looks, so look again.
            if let Some(span) = span {
                return Ok(Some(Span { end: span.end.min(to), ..span }));
            }
        }
        Ok(None)
    }

    /// Bytes of the log from the block that holds `from` to the end, records in memory without their headers.
    ///
    /// # Errors
    /// The kernel's, where block headers cannot be read.
    pub fn bytes_since(&self, from: Sequence) -> io::Result<u64> {
        let (mut bytes, mut next) = (0, from);
        for segment in self.segments().into_iter().filter(|segment| segment.end_sequence() > from) {
            bytes += segment.data_end().saturating_sub(self.offset_from(&segment, from)?);
            next = segment.end_sequence();
        }
        while let Some(block) = self.tail().block(next).filter(|_| next < self.appended()) {
            let (count, records_bytes) = block.visible();
            let skipped = (next.since(block.first_sequence()) as usize).min(count);
            bytes += (records_bytes - block.bytes_of(skipped).min(records_bytes)) as u64;
            let end = block.first_sequence().plus(count as u64);
            if end <= next {
                break;
            }
            next = end;
        }
        Ok(bytes)
    }

    /// Offset in a segment of the block that holds `from`, or of the first block after it.
    fn offset_from(&self, segment: &Segment, from: Sequence) -> io::Result<u64> {
        if from <= segment.base() {
            return Ok(PAGE_BYTES as u64);
        }
        match segment.place_of(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.was_trimmed(segment, from) => {
                Ok(segment.data_end())
            }
            place => Ok(place?.map_or(PAGE_BYTES as u64, |place| place.offset)),
        }
    }

    fn span_in_memory(&self, from: Sequence) -> Option<Span> {
        let block = self.tail().block(from)?;
        let end = block.first_sequence().plus(block.visible().0 as u64);
        let (first_timestamp, last_timestamp) = block.times();
        (from < end).then_some(Span {
            first: from,
            end,
            first_timestamp,
            last_timestamp,
            has_times: true,
            is_block: true,
        })
    }

    /// Nothing is known of the times of what is lost: a reader that looks there gets a gap.
    fn span_of_hole(&self, from: Sequence) -> Option<Span> {
        let end = self.hole_at(from)?;
        Some(Span { first: from, end, first_timestamp: 0, last_timestamp: u64::MAX, has_times: false, is_block: true })
    }

    fn span_in_segment(&self, from: Sequence, grain: Grain) -> io::Result<Option<Span>> {
        let Some(segment) = self.segment_of(from).filter(|segment| from < segment.end_sequence()) else {
            return Ok(None);
        };
        match (grain, segment.footer()) {
            (Grain::Segment, Some(footer)) => Ok(Some(Span {
                first: from,
                end: footer.end_sequence,
                first_timestamp: footer.first_timestamp,
                last_timestamp: footer.last_timestamp,
                has_times: true,
                is_block: false,
            })),
            _ => block_span(&segment, from).map(Some),
        }
    }

    /// `None` where the log has moved on.
    fn span_on_disk(&self, from: Sequence, grain: Grain) -> io::Result<Option<Span>> {
        match self.span_in_segment(from, grain) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && self.segment_of(from).is_none_or(|segment| self.was_trimmed(&segment, from)) =>
            {
                Ok(None)
            }
            span => Ok(span?.or_else(|| self.span_of_hole(from))),
        }
    }
}

/// If headers cannot be read, the span reaches from the last block that can to the end of the segment.
fn block_span(segment: &Segment, from: Sequence) -> io::Result<Span> {
    let (place, after) = (segment.place_of(from)?, segment.place_after(from)?);
    let is_whole = |end: Sequence| after.is_some() || end == segment.end_sequence();
    let times =
        place.filter(|place| is_whole(place.end_sequence)).map(|place| (place.first_timestamp, place.last_timestamp));
    let (first_timestamp, last_timestamp) = times.unwrap_or((0, u64::MAX));
    let end = after.map_or_else(|| segment.end_sequence(), |after| after.first_sequence);
    Ok(Span { first: from, end, first_timestamp, last_timestamp, has_times: times.is_some(), is_block: true })
}
