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
    /// Adds a shard that has events of a delivery.
    pub(super) fn add(&mut self, shard: (LogId, u16), delivery: Delivery) {
        *self.0.entry(shard).or_insert(true) &= delivery == Delivery::InOrder;
    }

    /// All of them, each once.
    pub(super) fn list(self) -> Vec<StoredShard> {
        let stored = |((log, shard_id), is_in_order)| StoredShard { log, shard_id, is_in_order };
        self.0.into_iter().map(stored).collect()
    }
}

/// The shard that the texts of its log and its number name. `None`: they name none.
pub(super) fn shard_of(log: &str, shard: &str) -> Option<(LogId, u16)> {
    // The text of an event's id has the same parts.
    let EventId { log, shard_id, .. } = format!("{log}-{shard}-0").parse().ok()?;
    Some((log, shard_id))
}
