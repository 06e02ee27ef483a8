//! What one producer has otherwise than its bus.

use crate::config::BackpressureMode;

/// Settings of one producer. Those that are `None` are the bus's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerOptions {
    /// What happens when a lane is full.
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
}
