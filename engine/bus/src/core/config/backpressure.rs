//! The fate of an event whose lane is full.

use std::time::Duration;

use tapeline_reader::ConfigError;

/// The fate of an event whose lane is full.
///
/// A dropped event is counted, by reason, producer and shard, and readers get a
/// [`Gap`](crate::consumer::Gap) at its position.
///
/// ```
/// use std::time::Duration;
/// use tapeline::{BackpressureMode, EventBusConfig};
///
/// let wait = BackpressureMode::Block { deadline: Duration::from_millis(50) };
/// let config = EventBusConfig::builder().backpressure_mode(wait).build()?;
/// assert_eq!(config.backpressure_mode, wait);
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackpressureMode {
    /// The caller gets an error and keeps the event: [`Backpressure`](crate::IngestionError::Backpressure). Of a batch
    /// it gets back what was not taken: [`EventBus::try_ingest_batch`](crate::EventBus::try_ingest_batch).
    #[default]
    FailProducer,
    /// As `FailProducer`, and the refusal is reported: readers of the event's session get a gap of reason
    /// [`DropReason::Refused`](crate::consumer::DropReason::Refused), which counts each call that was refused. A
    /// producer that ingests the event again later has it after that gap.
    FailAndReport,
    /// The caller's thread sleeps until there is room, at most for `deadline`; then as `FailProducer`.
    Block {
        /// Longest wait for one event.
        deadline: Duration,
    },
    /// The event is dropped: [`Dropped`](crate::IngestionError::Dropped).
    DropNewest,
    /// The oldest events of the lane, those that its shard has not copied yet, are dropped: at least a 64th of it at a
    /// time. The newest is kept; unless the shard's thread loses its core while it copies, for longer than the last
    /// eighth of the lane takes to fill: then as `DropNewest`.
    DropOldest,
    /// While the lane is more than half full, one event in `rate` of each session is kept, the others are dropped:
    /// [`Sampled`](crate::IngestionError::Sampled). So are all while it is full.
    Sample {
        /// Of how many events one is kept, at least 1.
        rate: u32,
    },
}

impl BackpressureMode {
    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        match self {
            Self::Sample { rate: 0 } => {
                Err(ConfigError::InvalidValue("backpressure_mode is Sample with a rate of 0; at least 1".into()))
            }
            _ => Ok(()),
        }
    }
}
