//! The adapter for Redis Streams.
//!
//! Each shard of a log has a stream, `PREFIX:LOG:SHARD`, or one for each session or kind, `PREFIX:LOG:SHARD:SESSION`,
//! and an index of these. The entry of the event of sequence `n` has the id `n+1-0` in any of them, so that Redis
//! refuses an event that comes again. Such a refusal is looked into, and counts as success where the stream holds the
//! event or has held it. A transaction adds up to `pipeline_size` events: all of them, or none where the server is out
//! of memory, so that the order has no holes. Events that are delivered out of order go to
//! `PREFIX:LOG:SHARD:redriven`, under ids of the server.
//!
//! `keys` (the names of streams), `entry` (an event as the fields of an entry), `client` (the thread that has the
//! connection), `add` (batches into streams), `index` (the events of several streams in order), `read` (what is
//! stored), `dedup` (a helper for consumers).

mod add;
mod client;
mod dedup;
mod entry;
mod index;
mod keys;
mod read;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::format::LogId;

use self::add::Parts;
use self::client::Client;
pub use self::dedup::RedisStreamDedup;
use self::keys::Keys;
use super::position::Position;
use super::{Adapter, AdapterFuture, ShardPollResult, StoredShard};
use crate::core::config::RedisAdapterConfig;
use crate::live::Batch;

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
        let keys = Keys::of(&self.config.streams, *log, shard_id);
        let from = match Position::parse(from_id, entry_id) {
            Ok(from) => from,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        Box::pin(self.client.ask(move |link| async move { read::shard(&link, &keys, from, limit).await }))
    }

    fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
        Box::pin(self.client.ask(|link| async move { read::stored(&link).await }))
    }

    fn is_healthy(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let ping = self.client.ask(|link| async move { link.ping().await });
        Box::pin(async move { ping.await.is_ok() })
    }
}

/// The id of an entry, as Redis has it.
fn entry_id(text: &str) -> Option<String> {
    let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_id.then(|| text.to_owned())
}
