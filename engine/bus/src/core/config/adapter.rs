//! The adapter that a configuration names.

use tapeline_reader::ConfigError;

/// The adapter that a bus relays its events to.
///
/// ```
/// use tapeline::{AdapterConfig, EventBusConfig};
///
/// let config = EventBusConfig::builder().adapter(AdapterConfig::Memory).build()?;
/// assert_eq!(config.adapter, AdapterConfig::Memory);
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
// A configuration has one: a box would only make it longer to write.
#[allow(clippy::large_enum_variant)]
pub enum AdapterConfig {
    /// None: events stay in the log of the bus, and no relay runs.
    #[default]
    Noop,
    /// A [`MemoryAdapter`](crate::adapter::MemoryAdapter), which the relay's handle reaches.
    Memory,
    /// A [`JetStreamAdapter`](crate::adapter::JetStreamAdapter).
    #[cfg(feature = "jetstream")]
    JetStream(super::JetStreamAdapterConfig),
    /// A [`RedisAdapter`](crate::adapter::RedisAdapter).
    #[cfg(feature = "redis")]
    Redis(super::RedisAdapterConfig),
}

impl AdapterConfig {
    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Noop | Self::Memory => Ok(()),
            #[cfg(feature = "jetstream")]
            Self::JetStream(config) => config.validate(),
            #[cfg(feature = "redis")]
            Self::Redis(config) => config.validate(),
        }
    }
}
