//! Poll: pages over all shards, each shard with a fair share.

use std::sync::Arc;

use tapeline_storage::format::{LogId, Sequence};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{LogReader, Step};

use super::cursor::Cursor;
use super::page::copy_events;
use crate::error::ConsumerResult;
use crate::event::StoredEvent;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumeRequest {
    /// Where to go on: [`ConsumeResponse::next_id`] of the page before. `None`: from the earliest event there is.
    pub from_id: Option<String>,
    /// Most events in the page. Default 1000.
    pub limit: usize,
    /// Shards to read. `None`: all.
    pub shards: Option<Vec<u16>>,
}

impl Default for ConsumeRequest {
    fn default() -> Self {
        Self::new(1000)
    }
}

impl ConsumeRequest {
    /// A page of up to `limit` events from the earliest there is.
    pub fn new(limit: usize) -> Self {
        Self { from_id: None, limit, shards: None }
    }

    /// The same, from a cursor on.
    #[must_use]
    pub fn from(mut self, cursor: impl Into<String>) -> Self {
        self.from_id = Some(cursor.into());
        self
    }

    /// The same, from these shards alone.
    #[must_use]
    pub fn shards(mut self, shards: Vec<u16>) -> Self {
        self.shards = Some(shards);
        self
    }
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConsumeResponse {
    /// The events: in order within a shard, hence within a session.
    pub events: Vec<StoredEvent>,
    /// The cursor behind this page.
    pub next_id: Option<String>,
    /// Whether there was more to read when the page was full.
    pub has_more: bool,
    /// What the cursor asked for and the log does not hold any more.
    pub gaps: Vec<ShardGap>,
}

/// Events that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardGap {
    /// The shard.
    pub shard_id: u16,
    /// First sequence that is gone.
    pub from: Sequence,
    /// Sequence after the last that is gone.
    pub to: Sequence,
}

/// Reads a page. Shards take turns; whoever has little leaves its share to the others.
pub(crate) fn poll(log: LogId, views: &[Arc<LogView>], request: &ConsumeRequest) -> ConsumerResult<ConsumeResponse> {
    let mut cursor = match &request.from_id {
        Some(text) => Cursor::decode(text, log)?,
        None => Cursor::default(),
    };
    let mut page = ConsumeResponse::default();
    let wanted = |shard| request.shards.as_ref().is_none_or(|shards| shards.contains(&shard));
    let mut readers: Vec<LogReader> = views
        .iter()
        .filter(|view| wanted(view.shard()))
        .map(|view| {
            let next = cursor.0.get(&view.shard()).copied().unwrap_or_else(|| view.trimmed());
            LogReader::new(Arc::clone(view), next)
        })
        .collect();
    let mut hungry: Vec<usize> = (0..readers.len()).collect();
    while page.events.len() < request.limit && !hungry.is_empty() {
        let share = (request.limit - page.events.len()).div_ceil(hungry.len());
        let mut still_hungry = Vec::new();
        for at in hungry {
            let left = request.limit - page.events.len();
            if left == 0 || read_share(log, &mut readers[at], share.min(left), &mut page)? {
                still_hungry.push(at);
            }
        }
        hungry = still_hungry;
    }
    page.has_more = readers.iter().any(|reader| reader.next_sequence() < reader.view().appended());
    cursor.0.extend(readers.iter().map(|reader| (reader.view().shard(), reader.next_sequence())));
    page.next_id = Some(cursor.encode(log));
    Ok(page)
}

/// Reads up to `share` events of one shard. Returns whether the shard may have more.
fn read_share(log: LogId, reader: &mut LogReader, share: usize, page: &mut ConsumeResponse) -> ConsumerResult<bool> {
    let shard_id = reader.view().shard();
    let before = page.events.len();
    while page.events.len() - before < share {
        match reader.step()? {
            Step::End => return Ok(false),
            Step::Gap(gap) => page.gaps.push(ShardGap { shard_id, from: gap.from, to: gap.to }),
            Step::Block(block) => {
                let left = share - (page.events.len() - before);
                let taken = copy_events(log, shard_id, &block, None, left, &mut page.events)?;
                reader.return_to(block.first_sequence().plus(taken as u64));
            }
        }
    }
    Ok(true)
}
