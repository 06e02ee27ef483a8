//! The adapter for NATS JetStream.
//!
//! A stream holds the events of a log, each shard's under a subject of its own, `PREFIX.LOG.SHARD`, or one for each
//! session or kind, `PREFIX.LOG.SHARD.SESSION`. A batch's messages are published without waiting for each other's
//! acknowledgement, and each names the one that it has to follow, so that the order has no holes (`publish`). An event
//! that comes again is one whose sequence is not above that of its shard's last in the stream; it is compared, and not
//! published (`read`). Events that are delivered out of order go to `PREFIX.LOG.redriven.SHARD`, and are read after the
//! others of their shard.
//!
//! `link` (the connection), `stream` (its settings), `message` (an event as a message).

mod link;
mod message;
mod publish;
mod read;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::format::LogId;

use self::link::Client;
use super::position::Position;
use super::{Adapter, AdapterFuture, ShardPollResult, StoredShard};
use crate::core::config::JetStreamAdapterConfig;
use crate::live::Batch;

/// Stores events in a stream of NATS JetStream, and reads them back. docs/ADAPTERS.md has the layout and the
/// guarantees.
///
/// It has a thread of its own, which ends with it, and one connection, which is made anew when it breaks.
#[derive(Debug)]
pub struct JetStreamAdapter {
    client: Client,
    /// The log that it reads.
    log: OnceLock<LogId>,
}

impl JetStreamAdapter {
    /// An adapter, which connects when it is initialised, or first called.
    ///
    /// # Errors
    /// [`AdapterError::Config`]: a setting out of range, or no URL of NATS. [`AdapterError::NoThread`].
    pub fn new(config: JetStreamAdapterConfig) -> AdapterResult<Self> {
        config.validate()?;
        let log = config.log.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { client: link::start(Arc::new(config))?, log })
    }
}

impl Adapter for JetStreamAdapter {
    fn name(&self) -> &'static str {
        "jetstream"
    }

    fn init(&mut self) -> AdapterFuture<'_> {
        Box::pin(self.client.ask(|link| async move { link.check().await }))
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        if let Some(event) = batch.events.first() {
            let _ = self.log.set(event.id.log);
        }
        Box::pin(self.client.ask(move |link| async move { publish::publish(&link, &batch).await }))
    }

    fn poll_shard<'a>(
        &'a self,
        shard_id: u16,
        from_id: Option<&'a str>,
        limit: usize,
    ) -> AdapterFuture<'a, ShardPollResult> {
        let Some(log) = self.log.get().copied() else {
            let unknown = "it has stored nothing yet, so it does not know the log; set JetStreamAdapterConfig::log";
            return Box::pin(std::future::ready(Err(AdapterError::Denied(unknown.into()))));
        };
        let from = match Position::parse(from_id, |id| id.parse().ok()) {
            Ok(from) => from,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        Box::pin(self.client.ask(move |link| async move {
            link.with(async |session| read::shard(&link, session, (log, shard_id), (from, limit)).await).await
        }))
    }

    fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
        Box::pin(
            self.client.ask(|link| async move { link.with(async |session| read::stored(&link, session).await).await }),
        )
    }

    fn is_healthy(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        let check = self.client.ask(|link| async move { link.check().await });
        Box::pin(async move { check.await.is_ok() })
    }
}
