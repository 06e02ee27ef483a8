//! Events that producers got back, by reason.

use std::ops::AddAssign;

use super::error::IngestionError;

/// The reason for which an event went back to its producer, as the statistics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    Backpressure,
    Memory,
    StorageFull,
    Poisoned,
    ShuttingDown,
    NoShard,
    SessionClosed,
}

impl RefusalReason {
    /// The number of reasons.
    pub(crate) const COUNT: usize = 7;

    /// The reason of an error, if it is one that is counted.
    pub(crate) fn of(error: &IngestionError) -> Option<Self> {
        match error {
            IngestionError::Backpressure { .. } => Some(Self::Backpressure),
            IngestionError::Budget { .. }
            | IngestionError::EventBudget { .. }
            | IngestionError::Lane { .. }
            | IngestionError::Memory(_) => Some(Self::Memory),
            IngestionError::StorageFull { .. } => Some(Self::StorageFull),
            IngestionError::Poisoned(_) => Some(Self::Poisoned),
            IngestionError::ShuttingDown => Some(Self::ShuttingDown),
            IngestionError::NoShard { .. } => Some(Self::NoShard),
            IngestionError::SessionClosed { .. } => Some(Self::SessionClosed),
            // Dropped events are counted as such; no bus would take the others, or there was no event yet.
            IngestionError::Dropped { .. }
            | IngestionError::Sampled { .. }
            | IngestionError::TooLarge { .. }
            | IngestionError::NameTooLong { .. }
            | IngestionError::ReservedKind { .. }
            | IngestionError::NoSession
            | IngestionError::Cursor { .. }
            | IngestionError::CursorMode
            | IngestionError::BatchTooLarge { .. }
            | IngestionError::ClosedBudget { .. }
            | IngestionError::Options(_)
            | IngestionError::Serialization(_)
            | IngestionError::Archive(_)
            | IngestionError::Forked => None,
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// Events that producers got back because the bus did not take them, by reason.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.shutdown_via_ref().await?;
/// assert!(bus.ingest_raw(RawEvent::from_str("late")).is_err());
/// assert_eq!(bus.stats().refusals.shutting_down, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Refusals {
    /// The lane was full: [`IngestionError::Backpressure`].
    pub backpressure: u64,
    /// No memory for a lane, for a larger one, or for a large event: [`IngestionError::Budget`],
    /// [`IngestionError::Lane`], [`IngestionError::EventBudget`], [`IngestionError::Memory`].
    pub memory: u64,
    /// The disk was full: [`IngestionError::StorageFull`].
    pub storage_full: u64,
    /// A write had failed: [`IngestionError::Poisoned`].
    pub poisoned: u64,
    /// The bus was ending: [`IngestionError::ShuttingDown`].
    pub shutting_down: u64,
    /// The session was another bus's: [`IngestionError::NoShard`].
    pub no_shard: u64,
    /// The session was closed: [`IngestionError::SessionClosed`].
    pub session_closed: u64,
}

impl Refusals {
    /// So many by [`RefusalReason::index`].
    pub(crate) fn of(
        [backpressure, memory, storage_full, poisoned, shutting_down, no_shard, session_closed]: [u64;
            RefusalReason::COUNT],
    ) -> Self {
        Self { backpressure, memory, storage_full, poisoned, shutting_down, no_shard, session_closed }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.reasons().into_iter().map(|(_, events)| events).sum()
    }

    /// Each reason, by the name of its field.
    pub(crate) fn reasons(&self) -> [(&'static str, u64); RefusalReason::COUNT] {
        let Self { backpressure, memory, storage_full, poisoned, shutting_down, no_shard, session_closed } = *self;
        [
            ("backpressure", backpressure),
            ("memory", memory),
            ("storage_full", storage_full),
            ("poisoned", poisoned),
            ("shutting_down", shutting_down),
            ("no_shard", no_shard),
            ("session_closed", session_closed),
        ]
    }
}

impl AddAssign for Refusals {
    fn add_assign(&mut self, other: Self) {
        self.backpressure += other.backpressure;
        self.memory += other.memory;
        self.storage_full += other.storage_full;
        self.poisoned += other.poisoned;
        self.shutting_down += other.shutting_down;
        self.no_shard += other.no_shard;
        self.session_closed += other.session_closed;
    }
}
