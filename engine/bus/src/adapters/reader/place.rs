//! The cursor of a reader of a backend: for each shard the place that its adapter goes on from.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use tapeline_reader::{ConsumerError, ConsumerResult, CursorFault};
use tapeline_storage::format::{LogId, Sequence};

use super::shard::ShardReader;

/// The version of its text.
const VERSION: u64 = 1;

/// The place of a reader in each shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    log: String,
    /// The adapter's text, and the last event after that which was handed out.
    shards: BTreeMap<u16, (Option<String>, Option<u64>)>,
}

impl Place {
    pub(super) fn of(log: LogId, shards: &[ShardReader]) -> Self {
        let place = |shard: &ShardReader| {
            let (from, after) = shard.place();
            (shard.shard_id(), (from.map(str::to_owned), after.map(Sequence::get)))
        };
        Self { log: log.to_string(), shards: shards.iter().map(place).collect() }
    }

    /// The place that a text names; before everything without one.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`].
    pub(super) fn parse(text: Option<&str>, log: LogId) -> ConsumerResult<Self> {
        let beginning = Self::of(log, &[]);
        let Some(text) = text else { return Ok(beginning) };
        let refused = |fault| ConsumerError::InvalidCursor { fault, earliest: beginning.to_string() };
        let place = parse(text).ok_or_else(|| {
            let words = "it is none of a reader of a backend".to_owned();
            refused(CursorFault::Damaged(words))
        })?;
        if place.log != beginning.log {
            return Err(refused(CursorFault::Damaged(format!("it is of log {}, not of {log}", place.log))));
        }
        Ok(place)
    }

    pub(super) fn into_shards(self) -> Vec<ShardReader> {
        let shards = self.shards.into_iter();
        shards.map(|(shard, (from, after))| ShardReader::new(shard, from, after.map(Sequence::new))).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.shards.iter().map(|(shard, (from, after))| json!([shard, from, after]));
        let shards: Vec<Value> = shards.collect();
        json!({ "backend": VERSION, "log": self.log, "shards": shards }).fmt(f)
    }
}

fn parse(text: &str) -> Option<Place> {
    let value: Value = serde_json::from_str(text).ok()?;
    if value.get("backend")?.as_u64()? != VERSION {
        return None;
    }
    let shard = |shard: &Value| {
        let [shard, from, after] = shard.as_array()?.as_slice() else { return None };
        let from = if from.is_null() { None } else { Some(from.as_str()?.to_owned()) };
        let after = if after.is_null() { None } else { Some(after.as_u64()?) };
        Some((u16::try_from(shard.as_u64()?).ok()?, (from, after)))
    };
    let shards: Option<_> = value.get("shards")?.as_array()?.iter().map(shard).collect();
    Some(Place { log: value.get("log")?.as_str()?.to_owned(), shards: shards? })
}
