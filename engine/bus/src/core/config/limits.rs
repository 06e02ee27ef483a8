//! The most that lanes, events and memory of a bus may be.

use super::{LANE_BYTES, LANE_BYTES_PER_EVENT};

/// The most that lanes, events and memory of a bus may be. The builder's setters have the names of its fields.
///
/// ```
/// use tapeline::EventBusConfig;
///
/// let config = EventBusConfig::builder().lane_bytes(1 << 20).payload_bytes_max(64 << 10).build()?;
/// assert_eq!((config.limits.lane_bytes, config.limits.payload_bytes_max), (1 << 20, Some(64 << 10)));
/// assert_eq!(config.limits.ring_buffer_capacity, 16_384);
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Events that a lane may grow to hold: a power of two from 1024 to `lane_bytes / 16`. Default 262,144; the
    /// builder's default is one for each 64 bytes of `lane_bytes`.
    pub ring_buffer_capacity: usize,
    /// Bytes that a lane may grow to hold: a power of two, at least 64 KiB. Default 16 MiB. Each producer has a lane to
    /// each shard it writes to, which begins with 4 KiB and grows when it is full or carries a stream.
    pub lane_bytes: usize,
    /// Most bytes of memory that the bus takes for lanes and blocks. Default: `memory_bytes` for each shard that there
    /// may be, and 960 MiB for lanes, which is 1 GiB for a shard in memory. A lane beyond it is refused, and a lane
    /// does not grow beyond it.
    pub memory_budget: Option<usize>,
    /// Longest payload of an event in bytes, at most 64 MiB. Default: 64 MiB, or half of `segment_bytes` where that is
    /// less. One that does not fit a lane takes its size in memory until it is written, as a part of `memory_budget`.
    pub payload_bytes_max: Option<usize>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            ring_buffer_capacity: LANE_BYTES / LANE_BYTES_PER_EVENT,
            lane_bytes: LANE_BYTES,
            memory_budget: None,
            payload_bytes_max: None,
        }
    }
}
