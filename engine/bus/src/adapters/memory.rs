//! The adapter that keeps the newest events in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use tapeline_reader::{AdapterError, AdapterResult, EventId, StoredEvent};
use tapeline_storage::format::{LogId, Sequence};

use super::{Adapter, AdapterFuture, ShardPollResult, StoredShard};
use crate::core::lock::lock;
use crate::live::Batch;

/// Bytes of payloads that it keeps by default.
const BYTES: usize = 64 << 20;

/// Bytes that an event takes beside its payload, about.
const EVENT_BYTES: usize = 160;

/// Keeps the newest events in memory, and reads them back. Clones share what they keep, so that a program keeps one and
/// gives the other to a bus.
///
/// ```
/// use tapeline::adapter::{Adapter, MemoryAdapter};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kept = MemoryAdapter::new();
/// let bus = EventBus::new_with_adapter(EventBusConfig::default(), Box::new(kept.clone())).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// bus.shutdown().await?;
/// let page = kept.poll_shard(0, None, 10).await?;
/// assert_eq!(page.events[0].raw, b"hello"[..]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryAdapter {
    kept: Arc<Mutex<Kept>>,
    bytes_max: usize,
}

type Key = (u16, LogId, Sequence);

#[derive(Debug, Default)]
struct Kept {
    events: BTreeMap<Key, StoredEvent>,
    /// The order in which they came: what is kept longest goes first.
    order: std::collections::VecDeque<Key>,
    bytes: usize,
}

impl Default for MemoryAdapter {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryAdapter {
    /// Keeps 64 MiB.
    pub fn new() -> Self {
        Self::with_bytes(BYTES)
    }

    /// Keeps so many bytes: those of payloads, and 160 for each event. The newest event stays, however large.
    pub fn with_bytes(bytes_max: usize) -> Self {
        Self { kept: Arc::default(), bytes_max }
    }

    /// The number of events that it has.
    pub fn len(&self) -> usize {
        lock(&self.kept).events.len()
    }

    /// Returns whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn page(&self, shard_id: u16, from_id: Option<&str>, limit: usize) -> AdapterResult<ShardPollResult> {
        let from = match from_id {
            None => Bound::Included((shard_id, LogId([0; 16]), Sequence::ZERO)),
            Some(text) => {
                let id: EventId = text.parse().map_err(|_| {
                    AdapterError::Denied(format!("{text:?} is no place to go on from: give a next_id of this adapter"))
                })?;
                Bound::Excluded((shard_id, id.log, id.sequence))
            }
        };
        let kept = lock(&self.kept);
        let to = Bound::Included((shard_id, LogId([0xff; 16]), Sequence::new(u64::MAX)));
        let mut found = kept.events.range((from, to)).map(|(_, event)| event.clone());
        let events: Vec<_> = found.by_ref().take(limit).collect();
        let next_id = events.last().map(|event| event.id.to_string()).or(from_id.map(str::to_owned));
        Ok(ShardPollResult { next_id, has_more: found.next().is_some(), events })
    }
}

impl Kept {
    fn add(&mut self, event: &StoredEvent, bytes_max: usize) {
        let key = (event.shard_id, event.id.log, event.sequence);
        if self.events.insert(key, event.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        self.bytes += event.raw.len() + EVENT_BYTES;
        while self.bytes > bytes_max && self.order.len() > 1 {
            let Some(gone) = self.order.pop_front().and_then(|key| self.events.remove(&key)) else { break };
            self.bytes = self.bytes.saturating_sub(gone.raw.len() + EVENT_BYTES);
        }
    }
}

impl Adapter for MemoryAdapter {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        let mut kept = lock(&self.kept);
        batch.events.iter().for_each(|event| kept.add(event, self.bytes_max));
        Box::pin(ready(Ok(())))
    }

    fn poll_shard<'a>(
        &'a self,
        shard_id: u16,
        from_id: Option<&'a str>,
        limit: usize,
    ) -> AdapterFuture<'a, ShardPollResult> {
        Box::pin(ready(self.page(shard_id, from_id, limit)))
    }

    fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
        let kept = lock(&self.kept);
        let shards = kept.events.keys().map(|(shard_id, log, _)| (*log, *shard_id));
        let stored = |(log, shard_id)| StoredShard { log, shard_id, is_in_order: true };
        Box::pin(ready(Ok(shards.collect::<BTreeSet<_>>().into_iter().map(stored).collect())))
    }
}
