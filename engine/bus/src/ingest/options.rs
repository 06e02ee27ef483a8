//! The settings in which one producer differs from its bus.

use crate::core::config::BackpressureMode;
use crate::lane::{LaneOptions, Overflow};
use tapeline_reader::ConfigError;

/// Settings of one producer. Those that are `None` are the bus's.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::bus::ProducerOptions;
/// use tapeline::{BackpressureMode, EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let options = ProducerOptions::new().backpressure_mode(BackpressureMode::DropOldest);
/// let mut scores = bus.producer_with(options)?;
/// // Other producers keep the mode of the bus.
/// scores.emit(scores.session("scores"), kinds::DRIFT, b"0.7")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerOptions {
    /// The action when a lane is full.
    pub backpressure_mode: Option<BackpressureMode>,
    /// Bytes that each of its lanes holds: a power of two, at least 64 KiB. Its lanes hold as many events for each byte
    /// as those of the bus.
    pub lane_bytes: Option<usize>,
}

impl ProducerOptions {
    /// Those of the bus.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with this mode.
    #[must_use]
    pub fn backpressure_mode(mut self, mode: BackpressureMode) -> Self {
        self.backpressure_mode = Some(mode);
        self
    }

    /// The same, with lanes of this size.
    #[must_use]
    pub fn lane_bytes(mut self, bytes: usize) -> Self {
        self.lane_bytes = Some(bytes);
        self
    }

    /// The producer's action when a lane is full, where producers without a mode of their own do as `default` says.
    ///
    /// # Errors
    /// A mode whose setting is out of range.
    pub(crate) fn mode(self, default: BackpressureMode) -> Result<BackpressureMode, ConfigError> {
        let mode = self.backpressure_mode.unwrap_or(default);
        mode.validate().map(|()| mode)
    }

    /// The producer's lanes, where those of producers without a size of their own are as `default` says.
    ///
    /// # Errors
    /// A size that is out of range.
    pub(super) fn lanes(self, default: LaneOptions, overflow: Overflow) -> Result<LaneOptions, ConfigError> {
        let mut lane = LaneOptions { overflow, ..default };
        if let Some(bytes) = self.lane_bytes {
            if !(bytes.is_power_of_two() && (64 << 10..=1 << 40).contains(&bytes)) {
                let broken = format!("lane_bytes of the producer is {bytes}; a power of two from 64 KiB to 1 TiB");
                return Err(ConfigError::InvalidValue(broken));
            }
            let bytes_per_event = lane.capacity_bytes / lane.capacity_events;
            lane.capacity_bytes = bytes;
            lane.capacity_events = bytes / bytes_per_event;
        }
        Ok(lane)
    }
}
