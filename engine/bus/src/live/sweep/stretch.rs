//! The stretches that wait in the queue of a sweep.

use std::cmp::Ordering;

use tapeline_reader::StoredEvent;
use tapeline_reader::cursor::Frontier;
use tapeline_storage::format::Sequence;
use tapeline_storage::log::Span;

/// The age of an event: of an earlier writer run, or of the present one. What earlier runs wrote is complete and comes
/// first, whatever its times: the clock may have been set back since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Earlier,
    Present,
}

/// A position in the order in which a sweep hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) age: Age,
    pub(super) position: Frontier,
}

impl Key {
    /// Returns whether nothing before it can turn up any more, where that is certain below `horizon`.
    pub(super) fn is_due(&self, horizon: u64) -> bool {
        self.age == Age::Earlier || self.position.timestamp < horizon
    }
}

/// A part of a shard. The one with the earliest event is the greatest, as a heap wants it.
#[derive(Debug)]
pub(super) enum Stretch {
    /// Not opened: reader number, and what is known of it.
    Span { at: usize, span: ShardSpan },
    /// Events in order of time.
    Events(BlockEvents),
}

/// A span and its shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardSpan {
    pub(super) shard: u16,
    pub(super) first: Sequence,
    pub(super) end: Sequence,
    pub(super) first_timestamp: u64,
    pub(super) is_block: bool,
    pub(super) age: Age,
}

impl ShardSpan {
    pub(super) fn new(shard: u16, span: Span, age: Age) -> Self {
        let Span { first, end, first_timestamp, is_block, .. } = span;
        Self { shard, first, end, first_timestamp, is_block, age }
    }
}

impl Stretch {
    /// A part that is opened at once, because nothing is known of its times.
    pub(super) fn unknown(at: usize, shard: u16, first: Sequence, end: Sequence) -> Self {
        Self::Span { at, span: ShardSpan { shard, first, end, first_timestamp: 0, is_block: true, age: Age::Earlier } }
    }

    /// Nothing in it comes before this.
    pub(super) fn earliest(&self) -> Key {
        match self {
            Self::Span { span: ShardSpan { shard, first, first_timestamp, age, .. }, .. } => {
                Key { age: *age, position: Frontier { timestamp: *first_timestamp, shard: *shard, sequence: *first } }
            }
            Self::Events(events) => Key { age: events.age, position: events.earliest() },
        }
    }

    /// Its lowest sequence.
    pub(super) fn lowest(&self) -> Sequence {
        match self {
            Self::Span { span, .. } => span.first,
            Self::Events(events) => events.lowest.last().copied().unwrap_or_default(),
        }
    }

    pub(super) fn shard(&self) -> u16 {
        match self {
            Self::Span { span, .. } => span.shard,
            Self::Events(events) => events.earliest().shard,
        }
    }
}

impl Ord for Stretch {
    fn cmp(&self, other: &Self) -> Ordering {
        other.earliest().cmp(&self.earliest())
    }
}

impl PartialOrd for Stretch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Stretch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Stretch {}

/// Events of one block, the last one first: they are taken from the end.
#[derive(Debug)]
pub(super) struct BlockEvents {
    /// Reader number.
    pub(super) at: usize,
    pub(super) age: Age,
    events: Vec<StoredEvent>,
    /// For each event, the lowest sequence of it and those after it in time.
    lowest: Vec<Sequence>,
}

impl BlockEvents {
    /// Puts events of one shard and age in order of time. `None`, if there are none.
    pub(super) fn new(at: usize, age: Age, mut events: Vec<StoredEvent>) -> Option<Self> {
        events.reverse();
        let descending = |first: &StoredEvent, second: &StoredEvent| Frontier::of(first) >= Frontier::of(second);
        if !events.is_sorted_by(descending) {
            events.sort_unstable_by_key(|event| std::cmp::Reverse(Frontier::of(event)));
        }
        let mut lowest = Vec::with_capacity(events.len());
        let mut least = events.first()?.sequence;
        for event in &events {
            least = least.min(event.sequence);
            lowest.push(least);
        }
        Some(Self { at, age, events, lowest })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn earliest(&self) -> Frontier {
        self.events.last().map_or(Frontier::BEGINNING, Frontier::of)
    }

    /// Takes the earliest event, if it is wanted.
    pub(super) fn next_if(&mut self, is_wanted: impl FnOnce(Frontier) -> bool) -> Option<StoredEvent> {
        let event = self.events.pop_if(|event| is_wanted(Frontier::of(event)))?;
        self.lowest.pop();
        Some(event)
    }
}
