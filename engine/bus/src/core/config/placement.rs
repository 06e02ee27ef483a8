//! The cores of the shards' threads, and the way in which they run.

/// The driver that writes blocks at level `Durable`.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::Driver;
///
/// // `shard_stats()` says which driver a shard has, and why.
/// let config = EventBusConfig::builder().directory("log").driver(Driver::Blocking).build()?;
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Driver {
    /// The shard uses io_uring where the kernel allows it, and blocking writes elsewhere.
    #[default]
    Auto,
    /// A ring per shard; opening fails where it cannot run.
    Uring,
    /// `pwrite` or `pwritev2` on the shard's thread.
    Blocking,
}

/// The behaviour of a shard that has no work.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::IdleMode;
///
/// let config = EventBusConfig::builder().idle(IdleMode::BusyPoll).build()?;
/// assert_eq!(config.placement.idle, IdleMode::BusyPoll);
/// # Ok::<(), tapeline::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IdleMode {
    /// It naps, up to a millisecond between bursts and up to 8 on a bus that is not used: about 1 % of a core. An event
    /// may wait for a nap; a reader that waits for events ends it.
    #[default]
    Doze,
    /// It looks again at once, for ever: a whole core, and no event waits.
    BusyPoll,
}

/// The cores and threads of shards.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::PlacementConfig;
///
/// // Two shards on cores 2 and 3.
/// let config = EventBusConfig::builder().num_shards(2).cores(vec![2, 3]).build()?;
/// assert_eq!(config.placement, PlacementConfig { cores: Some(vec![2, 3]), ..PlacementConfig::default() });
/// # Ok::<(), tapeline::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementConfig {
    /// True if each shard is pinned to a core. Otherwise the kernel moves it about. Default `true`.
    pub pinned: bool,
    /// Cores to pin shards to, in order, over and over. `None`: the cores this process may use, from the last.
    pub cores: Option<Vec<usize>>,
    /// Cores that no shard runs on: those of threads that feed GPUs, say.
    pub excluded_cores: Vec<usize>,
    /// The behaviour of shards that have no work.
    pub idle: IdleMode,
    /// The driver that writes their blocks.
    pub driver: Driver,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        Self {
            pinned: true,
            cores: None,
            excluded_cores: Vec::new(),
            idle: IdleMode::default(),
            driver: Driver::default(),
        }
    }
}
