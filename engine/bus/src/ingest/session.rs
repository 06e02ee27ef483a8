//! A session as producers know it.

use tapeline_reader::IntoSession;
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

impl IntoSession for Session {
    fn into_session(self) -> SessionId {
        self.id
    }
}
