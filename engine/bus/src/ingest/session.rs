//! Tokens of the hot path: a session's place, an event's receipt.

use tapeline_storage::format::SessionId;

use crate::routing::Route;

/// A session as a producer knows it: its id and its shard.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::event::session_id;
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let producer = bus.producer()?;
/// // By name, which is hashed, or by a number of 128 bits.
/// assert_eq!(producer.session("chat-42").id(), session_id("chat-42"));
/// assert_eq!(producer.session(7_u128).shard_id(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    id: SessionId,
    shard: u16,
    /// The route that the shard follows from.
    route: Route,
}

impl Session {
    pub(super) fn new(id: SessionId, shard: u16, route: Route) -> Self {
        Self { id, shard, route }
    }

    #[inline(always)]
    pub(super) fn route(&self) -> Route {
        self.route
    }

    /// The id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The shard that held the session's new events when this token was made. After the bus has changed its shards an
    /// older token works as before, for the price of another hash.
    pub fn shard_id(&self) -> u16 {
        self.shard
    }
}

/// Receipt of an event: proof that it was taken, and the way to learn that it is durable. Only the producer that gave
/// it can answer; to any other it is an error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// let ticket = producer.emit(producer.session("chat-42"), kinds::TOKEN, b"hello")?;
/// producer.durable(ticket).await?;
/// assert!(producer.is_durable(ticket));
/// // Another producer does not know the ticket.
/// assert!(bus.producer()?.durable(ticket).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The shard that got the event.
    pub shard_id: u16,
    /// The producer that gave it, of all producers of the process.
    producer: u32,
    /// The event's time: nanoseconds since the Unix epoch, strictly rising within a producer.
    pub insertion_ts: u64,
    /// Lane entry that must be durable.
    entry: u64,
}

impl Ticket {
    #[inline(always)]
    pub(super) fn new(producer: u32, shard: u16, entry: u64, timestamp: u64) -> Self {
        Self { shard_id: shard, producer, insertion_ts: timestamp, entry }
    }

    pub(super) fn is_of(self, producer: u32) -> bool {
        self.producer == producer
    }

    pub(super) fn entry(self) -> u64 {
        self.entry
    }
}
