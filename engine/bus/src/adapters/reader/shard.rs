//! The events of one shard that were read and not handed out.

use std::collections::VecDeque;

use tapeline_reader::cursor::Frontier;
use tapeline_reader::{AdapterResult, Start, StoredEvent};
use tapeline_storage::format::{LogId, Sequence};

use crate::adapters::ShardPollResult;

/// Events that it asks for at a time.
const PAGE_EVENTS: usize = 1000;

/// One shard of a backend.
#[derive(Debug)]
pub(super) struct ShardReader {
    shard_id: u16,
    /// The place from which the events in hand were read.
    from: Option<String>,
    /// The last of them that was handed out.
    after: Option<Sequence>,
    /// The place after all of them.
    next: Option<String>,
    events: VecDeque<StoredEvent>,
    supply: Supply,
}

/// The rest of a shard, after the events in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// It was not asked in this page.
    Unknown,
    More,
    /// There was none when it was asked.
    Dry,
    /// It cannot be read in this page.
    Failed,
}

impl ShardReader {
    /// A reader that goes on after the event of this sequence among those that are read from a place.
    pub(super) fn new(shard_id: u16, from: Option<String>, after: Option<Sequence>) -> Self {
        Self { shard_id, next: from.clone(), from, after, events: VecDeque::new(), supply: Supply::Unknown }
    }

    pub(super) fn shard_id(&self) -> u16 {
        self.shard_id
    }

    /// The place to go on from, and the event after which, if it is among those that are read from there.
    pub(super) fn place(&self) -> (Option<&str>, Option<Sequence>) {
        let is_in_page = !self.events.is_empty() || (self.after.is_some() && self.from == self.next);
        if is_in_page { (self.from.as_deref(), self.after) } else { (self.next.as_deref(), None) }
    }

    /// Another page begins.
    pub(super) fn look_again(&mut self) {
        if self.supply != Supply::More {
            self.supply = Supply::Unknown;
        }
    }

    /// Returns whether it has no event in hand and may have others.
    pub(super) fn is_wanting(&self) -> bool {
        self.events.is_empty() && matches!(self.supply, Supply::Unknown | Supply::More)
    }

    /// Returns whether there is something to read, in hand or not.
    pub(super) fn has_more(&self) -> bool {
        !self.events.is_empty() || self.supply == Supply::More
    }

    /// The arguments to ask the adapter with.
    pub(super) fn request(&mut self) -> (u16, Option<String>, usize) {
        (self.shard_id, self.next.clone(), PAGE_EVENTS)
    }

    /// Takes the adapter's answer.
    ///
    /// # Errors
    /// The adapter's, in words.
    pub(super) fn answer(&mut self, answer: AdapterResult<ShardPollResult>, log: LogId) -> Result<(), String> {
        let page = match answer {
            Ok(page) => page,
            Err(error) => {
                self.supply = Supply::Failed;
                return Err(error.to_string());
            }
        };
        let is_first = self.from == self.next;
        self.supply = if page.has_more { Supply::More } else { Supply::Dry };
        self.events = page.events.into_iter().filter(|event| event.id.log == log).collect();
        // An event that is not there any more left with those before it.
        let handed_out = self.after.take().filter(|_| is_first);
        if let Some(last) = self.events.iter().position(|event| Some(event.sequence) == handed_out) {
            self.after = handed_out;
            self.events.drain(..=last);
        }
        self.from = std::mem::replace(&mut self.next, page.next_id);
        Ok(())
    }

    /// The place of its next event in an order of time.
    pub(super) fn first(&self) -> Option<Frontier> {
        self.events.front().map(Frontier::of)
    }

    /// Hands out its next event.
    pub(super) fn take(&mut self) -> Option<StoredEvent> {
        let event = self.events.pop_front()?;
        self.after = Some(event.sequence);
        Some(event)
    }

    /// Passes over events in hand that are before a start. Returns whether others may be, too.
    pub(super) fn pass(&mut self, start: &Start) -> bool {
        let is_before = |event: &StoredEvent| match start {
            Start::Latest => true,
            Start::Time(time) => event.insertion_ts < *time,
            Start::Sequences(sequences) => {
                sequences.iter().any(|(shard, first)| *shard == event.shard_id && event.sequence < *first)
            }
            _ => false,
        };
        while self.events.front().is_some_and(is_before) {
            let _ = self.take();
        }
        self.is_wanting()
    }
}
