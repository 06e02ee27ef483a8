//! Adapters: other stores that get the events of a log. A relay feeds each of them from a durable cursor.
//!
//! Reading order: [`Adapter`] (what a store does for a relay), `noop`, `memory`, `redis` and `jetstream` (four of
//! them), `thread` (that of a client that needs a runtime), `position` and `stored` (what they read back), `call`
//! (calls of foreign adapters, with a time limit), `relay`, `reader` (consumers elsewhere), `conformance` (the suite
//! for adapters of others).

mod call;
pub mod conformance;
#[cfg(feature = "jetstream")]
mod jetstream;
mod memory;
mod noop;
#[cfg(any(feature = "jetstream", feature = "redis"))]
mod position;
mod reader;
#[cfg(feature = "redis")]
mod redis;
mod relay;
#[cfg(any(feature = "jetstream", feature = "redis"))]
mod stored;
#[cfg(any(feature = "jetstream", feature = "redis"))]
mod thread;

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use tapeline_reader::{AdapterError, AdapterResult, StoredEvent};
use tapeline_storage::format::LogId;

use crate::core::config::AdapterConfig;
use crate::live::Batch;

pub(crate) use self::call::call;
#[cfg(feature = "jetstream")]
pub use self::jetstream::JetStreamAdapter;
pub use self::memory::MemoryAdapter;
pub use self::noop::NoopAdapter;
pub use self::reader::AdapterReader;
#[cfg(feature = "redis")]
pub use self::redis::{RedisAdapter, RedisStreamDedup};
pub use self::relay::{RelayEnd, RelayHandle, RelayOptions, relay_log};
pub(crate) use self::relay::{RelayPlace, start_relay};

/// An event as an adapter is handed it.
pub type InternalEvent = StoredEvent;

/// The future of a call to an adapter.
pub type AdapterFuture<'a, T = ()> = Pin<Box<dyn Future<Output = AdapterResult<T>> + Send + 'a>>;

/// A store that a relay feeds with the events of a log.
///
/// A relay calls an adapter from a thread of its own, which runs no executor but polls the futures. A future that needs
/// a runtime brings it along: it hands its work to a thread that has one, and waits for the answer. A future may also
/// block the relay's thread, which holds up that relay alone; the relay's time limit then takes effect after it
/// returns.
///
/// A relay promises:
///
/// * [`Adapter::init`] comes first, once it has succeeded never again. Until then it is repeated.
/// * There is at most one call of [`Adapter::on_batch`] at a time for each shard. The batches of a shard come in order,
///   those of different shards together.
/// * A batch that was not confirmed comes again. After a restart of the process so do the events of the last batch that
///   was, all perhaps with other limits. A call that takes too long is dropped in the middle and made again.
/// * [`Adapter::flush`] and [`Adapter::shutdown`] come last, unless the time for its end is over by then.
///
/// An adapter promises:
///
/// * When [`Adapter::on_batch`] returns `Ok`, the backend holds all events of the batch, as durably as it ever does.
/// * The events of a shard are stored in order.
/// * An event that comes again is stored once, or so that it is recognised by its
///   [`dedup_id`](StoredEvent::dedup_id).
/// * An error has the variant that says what follows from it: see [`Adapter::on_batch`].
///
/// A panic in a call counts as [`AdapterError::Transient`]. [`conformance::check`](crate::adapter::conformance::check)
/// tries these rules on an adapter.
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Mutex};
///
/// use tapeline::adapter::{Adapter, AdapterFuture};
/// use tapeline::{AdapterError, Batch, EventBus, EventBusConfig, RawEvent};
///
/// /// Writes events as lines. It blocks the relay's thread, and that thread only.
/// struct Lines<W>(Mutex<W>);
///
/// impl<W: Write + Send + 'static> Adapter for Lines<W> {
///     fn name(&self) -> &'static str {
///         "lines"
///     }
///
///     fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
///         let mut lines = String::new();
///         for event in &batch.events {
///             lines += &format!("{} {}\n", event.dedup_id(), event.raw);
///         }
///         let mut output = self.0.lock().unwrap();
///         let written = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
///         Box::pin(std::future::ready(written.map_err(|error| AdapterError::Transient(error.to_string()))))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lines = Lines(Mutex::new(std::io::sink()));
/// let bus = EventBus::new_with_adapter(EventBusConfig::default(), Box::new(lines)).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// // Delivers what was ingested before it ends.
/// bus.shutdown_via_ref().await?;
/// assert_eq!(bus.relays()[0].stats().delivered.events, 1);
/// # Ok(())
/// # }
/// ```
pub trait Adapter: Send + Sync + 'static {
    /// Its name in statistics: letters, digits, `-`, `_` and `.`. Also the name of its relay, where that has no other.
    fn name(&self) -> &'static str;

    /// Prepares it: connects, and checks what it needs. Default: nothing.
    ///
    /// # Errors
    /// As [`Adapter::on_batch`]; the relay tries again after a pause, whatever the error is.
    fn init(&mut self) -> AdapterFuture<'_> {
        Box::pin(ready(Ok(())))
    }

    /// Stores a batch.
    ///
    /// # Errors
    /// * [`AdapterError::Serialization`]: it does not take an event of the batch, and never will. The relay delivers
    ///   the batch in halves until it knows the event, writes that to its dead letters, and goes on.
    /// * [`AdapterError::Transient`], [`AdapterError::Backpressure`], [`AdapterError::Connection`]: the same batch may
    ///   be stored later. The relay tries again, after pauses that grow.
    /// * Any other, [`AdapterError::Denied`] first of all: an operator has to act. The relay reports that it is
    ///   unhealthy, and tries again after its longest pause.
    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_>;

    /// Makes what it confirmed as durable as it can be. Default: nothing, because it was.
    ///
    /// # Errors
    /// Its own; they are reported, and that is all.
    fn flush(&self) -> AdapterFuture<'_> {
        Box::pin(ready(Ok(())))
    }

    /// Ends it. Default: nothing.
    ///
    /// # Errors
    /// Its own; they are reported, and that is all.
    fn shutdown(&self) -> AdapterFuture<'_> {
        Box::pin(ready(Ok(())))
    }

    /// Reads events of a shard back: up to `limit` after the one that `from_id` names, or from the first. Events that
    /// were delivered out of order ([`Delivery::Redriven`](crate::adapter::Delivery::Redriven)) come after those that
    /// are in order, once more perhaps, or not at all.
    ///
    /// # Errors
    /// [`AdapterError`]. Default: [`AdapterError::Denied`], because it cannot read.
    fn poll_shard<'a>(
        &'a self,
        shard_id: u16,
        from_id: Option<&'a str>,
        limit: usize,
    ) -> AdapterFuture<'a, ShardPollResult> {
        let _ = (shard_id, from_id, limit);
        let refused = format!("the adapter {} cannot read events back", self.name());
        Box::pin(ready(Err(AdapterError::Denied(refused))))
    }

    /// Lists the shards that the backend has events of, those of any log: to rebuild a log from it.
    ///
    /// # Errors
    /// [`AdapterError`]. Default: [`AdapterError::Denied`], because it cannot read.
    fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
        let refused = format!("the adapter {} cannot list what is stored", self.name());
        Box::pin(ready(Err(AdapterError::Denied(refused))))
    }

    /// Asks the backend whether it works. Default: yes.
    fn is_healthy(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(ready(true))
    }
}

/// Events of one shard, as an adapter reads them back.
///
/// ```
/// use tapeline::adapter::{Adapter, NoopAdapter};
///
/// let page = futures_lite::future::block_on(NoopAdapter.poll_shard(0, Some("from here"), 10))?;
/// assert!(page.events.is_empty() && !page.has_more);
/// assert_eq!(page.next_id.as_deref(), Some("from here"));
/// # Ok::<(), tapeline::AdapterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardPollResult {
    /// The events, in order.
    pub events: Vec<StoredEvent>,
    /// The text to go on from: of the last event, or where there is none what the call was given.
    pub next_id: Option<String>,
    /// True if there was more to read.
    pub has_more: bool,
}

/// A shard of a log of which a backend has events.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::adapter::{Adapter, MemoryAdapter};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let kept = MemoryAdapter::new();
/// let bus = EventBus::new_with_adapter(EventBusConfig::default(), Box::new(kept.clone())).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// bus.shutdown_via_ref().await?;
/// let stored = kept.stored().await?;
/// assert_eq!((stored[0].log, stored[0].shard_id), (bus.log_id(), 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredShard {
    /// The log.
    pub log: LogId,
    /// The shard.
    pub shard_id: u16,
    /// True if [`Adapter::poll_shard`] hands its events out in the order of their sequences; false if some may come
    /// out of order.
    pub is_in_order: bool,
}

/// The adapter that a configuration names; `None`, where it names none.
///
/// # Errors
/// [`AdapterError`], where its settings cannot be used.
pub(crate) fn of_config(config: &AdapterConfig) -> AdapterResult<Option<Box<dyn Adapter>>> {
    Ok(match config {
        AdapterConfig::Noop => None,
        AdapterConfig::Memory => Some(Box::new(MemoryAdapter::new())),
        #[cfg(feature = "jetstream")]
        AdapterConfig::JetStream(config) => Some(Box::new(JetStreamAdapter::new(config.clone())?)),
        #[cfg(feature = "redis")]
        AdapterConfig::Redis(config) => Some(Box::new(RedisAdapter::new(config.clone())?)),
    })
}
