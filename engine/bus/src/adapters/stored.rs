//! The shards of which a server has events, as its names of streams or subjects say.

use std::collections::BTreeMap;

use tapeline_reader::EventId;
use tapeline_storage::format::LogId;

use super::StoredShard;
use crate::live::Delivery;

/// The shards that were found.
#[derive(Debug, Default)]
pub(super) struct StoredShards(BTreeMap<(LogId, u16), bool>);

impl StoredShards {
    /// Adds a shard by the texts of its log and its number; other texts are passed over.
    pub(super) fn add(&mut self, log: &str, shard: &str, delivery: Delivery) {
        // The text of an event's id has the same parts.
        if let Ok(EventId { log, shard_id, .. }) = format!("{log}-{shard}-0").parse() {
            *self.0.entry((log, shard_id)).or_insert(true) &= delivery == Delivery::InOrder;
        }
    }

    /// All of them, each once.
    pub(super) fn list(self) -> Vec<StoredShard> {
        let stored = |((log, shard_id), is_in_order)| StoredShard { log, shard_id, is_in_order };
        self.0.into_iter().map(stored).collect()
    }
}
