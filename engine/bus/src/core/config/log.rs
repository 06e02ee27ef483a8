//! Settings of the log in which a bus keeps its events.

use std::path::PathBuf;

use tapeline_reader::RetentionPolicy;
use tapeline_storage::log::{Durability, LogOptions};

/// The log in which a bus keeps its events.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::{Durability, LogConfig};
///
/// // The builder sets them one by one.
/// let builder = EventBusConfig::builder().directory("log").durability(Durability::PageCache);
/// let config = builder.segment_bytes(64 << 20).build()?;
/// let LogConfig { directory, segment_bytes, retention, .. } = config.log;
/// assert_eq!((directory, segment_bytes, retention), (Some("log".into()), 64 << 20, None));
/// # Ok::<(), tapeline::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Directory of the log. `None`: in memory.
    pub directory: Option<PathBuf>,
    /// The failures that an acknowledged event survives. `Memory` if and only if there is no directory.
    pub durability: Durability,
    /// Size of a segment file in bytes while it is written. Default 256 MiB; at least 2 MiB.
    pub segment_bytes: u64,
    /// Memory for blocks per shard, in bytes: at level `Memory` all that is kept (default 64 MiB), else what is being
    /// written and the most recent blocks for readers (default 16 MiB). At least 4 MiB.
    pub memory_bytes: Option<usize>,
    /// Limits beyond which the oldest segments go: a thread of its own looks once a second. Default: none. A log in
    /// memory is bounded by `memory_bytes` instead.
    pub retention: Option<RetentionPolicy>,
}

impl LogConfig {
    /// The log of the default bus.
    pub(super) fn in_memory() -> Self {
        Self {
            directory: None,
            durability: Durability::Memory,
            segment_bytes: LogOptions::SEGMENT_BYTES,
            memory_bytes: None,
            retention: None,
        }
    }
}
