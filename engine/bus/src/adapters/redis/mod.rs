//! The adapter for Redis Streams.
//!
//! Each shard of a log has a stream, `PREFIX:LOG:SHARD`. The entry of the event of sequence `n` has the id `n+1-0`, so
//! that Redis refuses an event that comes again. Such a refusal is looked into, and counts as success where the stream
//! holds the event or has held it. A transaction adds up to `pipeline_size` events: all of them, or none where the
//! server is out of memory, so that the order has no holes. Events that are delivered out of order go to
//! `PREFIX:LOG:SHARD:redriven`, under ids of the server.
//!
//! `client` (the thread that has the connection), `entry` (an event as the fields of an entry), `dedup` (a helper for
//! consumers).

mod client;
mod dedup;
mod entry;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tapeline_reader::{AdapterError, AdapterResult, StoredEvent};
use tapeline_storage::format::LogId;

use self::client::{Client, Link};
pub use self::dedup::RedisStreamDedup;
use self::entry::{Entry, id_of};
use super::position::Position;
use super::stored::StoredShards;
use super::{Adapter, AdapterFuture, ShardPollResult, StoredShard};
use crate::core::config::RedisAdapterConfig;
use crate::live::{Batch, Delivery};

/// The end of the name of a stream with events that were delivered out of order.
const LATE: &str = ":redriven";

/// Stores events in Redis Streams, and reads them back. docs/ADAPTERS.md has the layout and the guarantees.
///
/// It has a thread of its own, which ends with it, and one connection, which is made anew when it breaks.
///
/// ```
/// use tapeline::adapter::{Adapter, RedisAdapter, RedisAdapterConfig};
///
/// // Connects when a bus initialises it.
/// let adapter = RedisAdapter::new(RedisAdapterConfig::new("redis://localhost:6379"))?;
/// assert_eq!(adapter.name(), "redis");
/// # Ok::<(), tapeline::AdapterError>(())
/// ```
#[derive(Debug)]
pub struct RedisAdapter {
    client: Client,
    config: Arc<RedisAdapterConfig>,
    /// The log of the streams that it reads.
    log: OnceLock<LogId>,
}

impl RedisAdapter {
    /// An adapter, which connects when it is initialised, or first called.
    ///
    /// # Errors
    /// [`AdapterError::Config`]: a setting out of range, or no URL of Redis. [`AdapterError::NoThread`].
    pub fn new(config: RedisAdapterConfig) -> AdapterResult<Self> {
        config.validate()?;
        let log = config.log.map_or_else(OnceLock::new, OnceLock::from);
        let config = Arc::new(config);
        Ok(Self { client: client::start(Arc::clone(&config))?, config, log })
    }
}

impl Adapter for RedisAdapter {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn init(&mut self) -> AdapterFuture<'_> {
        Box::pin(self.client.ask(|link| async move { link.ping().await }))
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        if let Some(event) = batch.events.first() {
            let _ = self.log.set(event.id.log);
        }
        Box::pin(self.client.ask(move |link| async move { Parts::of(&batch, &link)?.add(&link).await }))
    }

    fn poll_shard<'a>(
        &'a self,
        shard_id: u16,
        from_id: Option<&'a str>,
        limit: usize,
    ) -> AdapterFuture<'a, ShardPollResult> {
        let Some(log) = self.log.get() else {
            let unknown = "it has stored nothing yet, so it does not know the log; set RedisAdapterConfig::log";
            return Box::pin(std::future::ready(Err(AdapterError::Denied(unknown.into()))));
        };
        let key = format!("{}:{log}:{shard_id}", self.config.prefix);
        let from = match Position::parse(from_id, entry_id) {
            Ok(from) => from,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        Box::pin(self.client.ask(move |link| async move { read(&link, &key, from, limit).await }))
    }

    fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
        Box::pin(self.client.ask(|link| async move { stored(&link).await }))
    }

    fn is_healthy(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let ping = self.client.ask(|link| async move { link.ping().await });
        Box::pin(async move { ping.await.is_ok() })
    }
}

/// The transactions of a batch.
struct Parts<'b>(Vec<Part<'b>>);

/// Events that one transaction adds.
struct Part<'b> {
    key: String,
    events: &'b [StoredEvent],
    delivery: Delivery,
}

impl<'b> Parts<'b> {
    /// # Errors
    /// [`AdapterError::Serialization`], where a payload is larger than the server takes.
    fn of(batch: &'b Batch, link: &Link) -> AdapterResult<Self> {
        let max = link.payload_bytes_max();
        if let Some(event) = batch.events.iter().find(|event| event.raw.len() > max) {
            let bytes = event.raw.len();
            return Err(AdapterError::Serialization(format!(
                "event {} has a payload of {bytes} bytes; the server takes {max} at most",
                event.id
            )));
        }
        let suffix = if batch.delivery == Delivery::Redriven { LATE } else { "" };
        let streams = batch.events.chunk_by(|one, next| (one.id.log, one.shard_id) == (next.id.log, next.shard_id));
        let parts = streams.flat_map(|events| events.chunks(link.config().pipeline_size)).map(|events| {
            let key = format!("{}:{}:{}{suffix}", link.config().prefix, events[0].id.log, events[0].shard_id);
            Part { key, events, delivery: batch.delivery }
        });
        Ok(Self(parts.collect()))
    }

    /// Adds the events, one transaction after the other: one that the server refuses has none after it. While the
    /// server carries one out, the next is put together.
    async fn add(self, link: &Link) -> AdapterResult<()> {
        let mut parts = self.0.into_iter().map(|part| (part.transaction(link), part));
        let mut next = parts.next();
        while let Some((transaction, part)) = next.take() {
            let put_together = async {
                // The connection sends the transaction first.
                tokio::task::yield_now().await;
                parts.next()
            };
            let (added, following) = tokio::join!(part.add(link, &transaction), put_together);
            added?;
            next = following;
        }
        Ok(())
    }
}

impl Part<'_> {
    /// The transaction that adds the events.
    fn transaction(&self, link: &Link) -> redis::Pipeline {
        let mut transaction = redis::Pipeline::with_capacity(self.events.len());
        transaction.atomic();
        for event in self.events {
            let mut add = redis::cmd("XADD");
            add.arg(&self.key);
            if let Some(entries) = link.config().max_stream_len {
                add.arg("MAXLEN").arg("~").arg(entries);
            }
            match self.delivery {
                Delivery::Redriven => add.arg("*"),
                Delivery::InOrder => add.arg(id_of(event.sequence)),
            };
            Entry::of(event).write(&mut add);
            transaction.add_command(add);
        }
        transaction
    }

    /// Adds the events by their transaction.
    async fn add(&self, link: &Link, transaction: &redis::Pipeline) -> AdapterResult<()> {
        let answers = link.transaction(transaction).await?;
        let mut repeats = Vec::new();
        for (event, answer) in self.events.iter().zip(&answers) {
            match answer {
                redis::Value::ServerError(error) if is_repeat(error) => repeats.push(event),
                redis::Value::ServerError(error) => return Err(link.refused(error)),
                _ => {}
            }
        }
        self.check_repeats(link, &repeats).await
    }

    /// Looks at the entries of events that the server refused because the stream is past their ids.
    ///
    /// The stream has the log's id in its name, and only relays of the log write to it, in order. So an entry that is
    /// not there was there: it was trimmed, or a consumer has deleted it.
    async fn check_repeats(&self, link: &Link, repeats: &[&StoredEvent]) -> AdapterResult<()> {
        if repeats.is_empty() {
            return Ok(());
        }
        let mut look = redis::Pipeline::with_capacity(repeats.len());
        for event in repeats {
            let id = id_of(event.sequence);
            look.cmd("XRANGE").arg(&self.key).arg(&id).arg(&id);
        }
        let answers = link.pipeline(&look).await?;
        for (event, answer) in repeats.iter().zip(answers) {
            if let redis::Value::ServerError(error) = &answer {
                return Err(link.refused(error));
            }
            let stored = entry::entries(answer).into_iter().next();
            if let Some((id, fields)) = stored
                && entry::event(&fields).as_ref() != Some(event)
            {
                // After a crash that took events which were relayed, their sequences belong to others.
                return Err(AdapterError::Serialization(format!(
                    "entry {id} of stream {} is another event than {} of this log",
                    self.key, event.id
                )));
            }
        }
        Ok(())
    }
}

fn is_repeat(error: &redis::ServerError) -> bool {
    error.details().is_some_and(|details| details.contains("equal or smaller than the target stream top item"))
}

/// The id of an entry, as Redis has it.
fn entry_id(text: &str) -> Option<String> {
    let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_id.then(|| text.to_owned())
}

/// A page of the streams of a shard: of those out of order once the others were read.
async fn read(link: &Link, key: &str, mut from: Position<String>, limit: usize) -> AdapterResult<ShardPollResult> {
    let mut page = range(link, key, &mut from.in_order, limit).await?;
    if !page.has_more {
        let late = range(link, &format!("{key}{LATE}"), &mut from.late, limit - page.events.len()).await?;
        page.events.extend(late.events);
        page.has_more = late.has_more;
    }
    page.next_id = from.text();
    Ok(page)
}

/// Entries of one stream, from an id on, which is moved to the last of them.
async fn range(link: &Link, key: &str, from: &mut Option<String>, limit: usize) -> AdapterResult<ShardPollResult> {
    let first = from.as_ref().map_or_else(|| "-".to_owned(), |from| format!("({from}"));
    let mut range = redis::cmd("XRANGE");
    range.arg(key).arg(first).arg("+").arg("COUNT").arg(limit.saturating_add(1));
    let mut entries = entry::entries(link.command(&range).await?);
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    if let Some((id, _)) = entries.last() {
        *from = Some(id.clone());
    }
    let event = |(id, fields): &(String, entry::Fields)| {
        let foreign = || AdapterError::Denied(format!("entry {id} of stream {key} is no event of Tapeline"));
        entry::event(fields).ok_or_else(foreign)
    };
    let events = entries.iter().map(event).collect::<AdapterResult<_>>()?;
    Ok(ShardPollResult { events, next_id: None, has_more })
}

/// The shards of which there are streams with this prefix.
async fn stored(link: &Link) -> AdapterResult<Vec<StoredShard>> {
    let prefix = format!("{}:", link.config().prefix);
    let mut shards = StoredShards::default();
    let mut cursor = b"0".to_vec();
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(format!("{}*", literally(&prefix))).arg("COUNT").arg(1000);
        let (next, keys) = entry::scanned(link.command(scan.arg("TYPE").arg("stream")).await?);
        for key in &keys {
            let Some(name) = key.strip_prefix(&prefix) else { continue };
            let (name, delivery) = match name.strip_suffix(LATE) {
                Some(name) => (name, Delivery::Redriven),
                None => (name, Delivery::InOrder),
            };
            if let Some((log, shard)) = name.split_once(':') {
                shards.add(log, shard, delivery);
            }
        }
        if next == b"0" {
            return Ok(shards.list());
        }
        cursor = next;
    }
}

/// A pattern that a text alone matches.
fn literally(text: &str) -> String {
    let escaped = |letter| if "*?[]\\".contains(letter) { vec!['\\', letter] } else { vec![letter] };
    text.chars().flat_map(escaped).collect()
}
