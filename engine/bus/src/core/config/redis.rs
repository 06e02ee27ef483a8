//! The settings of the adapter for Redis Streams, and of the streams themselves.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tapeline_reader::ConfigError;
use tapeline_storage::format::LogId;

use super::EventMapping;

/// Redis's default limit of one value.
const VALUE_BYTES: usize = 512 << 20;

/// Milliseconds after which a stream may expire: up to 100 years, which the server can add to any time.
const EXPIRY_MS: std::ops::RangeInclusive<u128> = 1..=100 * 366 * 24 * 3600 * 1000;

/// Settings of a [`RedisAdapter`](crate::adapter::RedisAdapter). `Debug` prints neither user nor password.
///
/// ```
/// use tapeline::adapter::RedisAdapterConfig;
///
/// let config = RedisAdapterConfig::new("rediss://relay:secret@redis.example:6380/0").max_stream_len(1_000_000);
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisAdapterConfig {
    url: String,
    /// The streams, and the layout of events in them.
    pub streams: RedisSettings,
    /// Events that one transaction adds at most. Default 1000.
    pub pipeline_size: usize,
    /// The longest time for a connection to be made, TLS and credentials included. Default 5 seconds.
    pub connect_timeout: Duration,
    /// The longest time for the answer to one transaction or page. Default 5 seconds.
    pub command_timeout: Duration,
    /// Bytes of a payload that it takes at most. The server's own limit (`proto-max-bulk-len`) applies, too, where the
    /// user may read it. Default 512 MiB.
    pub payload_bytes_max: usize,
    /// The log to read back. Default: that of the first batch which it stored.
    pub log: Option<LogId>,
    /// A file with the certificates (PEM) of the authorities that it trusts instead of those of the system. For
    /// `rediss`.
    pub root_certificates: Option<PathBuf>,
}

/// The streams of a [`RedisAdapter`](crate::adapter::RedisAdapter).
///
/// ```
/// use std::time::Duration;
/// use tapeline::adapter::{Layout, RedisAdapterConfig};
///
/// // A stream for each session, which goes an hour after the last event.
/// let config = RedisAdapterConfig::new("redis://localhost")
///     .mapping(Layout::PerSession)
///     .expire_after(Duration::from_secs(3600));
/// assert_eq!(config.streams.prefix, "tapeline");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisSettings {
    /// The first part of the names of streams: that of shard 3 is `PREFIX:LOG:3`, with the log's id. Default
    /// `tapeline`.
    pub prefix: String,
    /// The streams of events, and fields of entries. Default: one stream for each shard, no further fields.
    pub mapping: EventMapping,
    /// Entries that each stream keeps, about (`MAXLEN ~`): older ones go. Default: all.
    pub max_len: Option<u64>,
    /// The time after the last event of a stream at which the stream goes. Default: none.
    pub expire_after: Option<Duration>,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self { prefix: "tapeline".into(), mapping: EventMapping::default(), max_len: None, expire_after: None }
    }
}

impl fmt::Debug for RedisAdapterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapterConfig")
            .field("server", &self.server())
            .field("streams", &self.streams)
            .field("pipeline_size", &self.pipeline_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("payload_bytes_max", &self.payload_bytes_max)
            .field("log", &self.log)
            .field("root_certificates", &self.root_certificates)
            .finish()
    }
}

impl RedisAdapterConfig {
    /// Those for the server at `url`: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for TLS, or
    /// `redis+unix:///PATH`. A server's certificate is verified.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            streams: RedisSettings::default(),
            pipeline_size: 1000,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            payload_bytes_max: VALUE_BYTES,
            log: None,
            root_certificates: None,
        }
    }

    /// Sets [`RedisSettings::prefix`].
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.streams.prefix = prefix.into();
        self
    }

    /// Sets [`RedisSettings::mapping`].
    #[must_use]
    pub fn mapping(mut self, mapping: impl Into<EventMapping>) -> Self {
        self.streams.mapping = mapping.into();
        self
    }

    /// Sets [`RedisSettings::expire_after`].
    #[must_use]
    pub fn expire_after(mut self, time: Duration) -> Self {
        self.streams.expire_after = Some(time);
        self
    }

    /// Sets [`RedisAdapterConfig::pipeline_size`].
    #[must_use]
    pub fn pipeline_size(mut self, events: usize) -> Self {
        self.pipeline_size = events;
        self
    }

    /// Sets [`RedisAdapterConfig::connect_timeout`] and [`RedisAdapterConfig::command_timeout`].
    #[must_use]
    pub fn timeouts(mut self, connect: Duration, command: Duration) -> Self {
        (self.connect_timeout, self.command_timeout) = (connect, command);
        self
    }

    /// Sets [`RedisSettings::max_len`].
    #[must_use]
    pub fn max_stream_len(mut self, entries: u64) -> Self {
        self.streams.max_len = Some(entries);
        self
    }

    /// Sets [`RedisAdapterConfig::payload_bytes_max`].
    #[must_use]
    pub fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = bytes;
        self
    }

    /// Sets [`RedisAdapterConfig::log`].
    #[must_use]
    pub fn log(mut self, log: LogId) -> Self {
        self.log = Some(log);
        self
    }

    /// Sets [`RedisAdapterConfig::root_certificates`].
    #[must_use]
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(file.into());
        self
    }

    /// The URL, which may hold a password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The server without credentials, for messages.
    pub(crate) fn server(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return "a URL without a scheme".into() };
        let end = rest.find('?').unwrap_or(rest.len());
        let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
        format!("{scheme}://{host}")
    }

    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let RedisSettings { prefix, mapping, max_len, expire_after } = &self.streams;
        mapping.validate()?;
        let broken = match self {
            _ if prefix.is_empty() => "the prefix of streams is empty",
            _ if *max_len == Some(0) => "max_len of streams is 0; at least 1",
            _ if expire_after.is_some_and(|time| !EXPIRY_MS.contains(&time.as_millis())) => {
                "expire_after is out of range; 1 ms to 100 years"
            }
            Self { pipeline_size: 0, .. } => "pipeline_size is 0; at least 1",
            Self { connect_timeout: Duration::ZERO, .. } => "connect_timeout is 0; more than that",
            Self { command_timeout: Duration::ZERO, .. } => "command_timeout is 0; more than that",
            _ => return Ok(()),
        };
        Err(ConfigError::InvalidValue(broken.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_show_nowhere() {
        for url in
            ["redis://user:pa@ss@host:1/0", "rediss://:secret@host", "redis://host?password=secret", "user:secret@host"]
        {
            let config = RedisAdapterConfig::new(url);
            let shown = format!("{config:?} {}", config.server());
            assert!(!["pa@ss", "user", "secret"].iter().any(|secret| shown.contains(secret)), "{shown}");
        }
        assert_eq!(RedisAdapterConfig::new("rediss://u:p@host:7/3").server(), "rediss://host:7/3");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let base = || RedisAdapterConfig::new("redis://host");
        assert!(base().validate().is_ok());
        let zero = Duration::ZERO;
        let second = Duration::from_secs(1);
        for broken in [
            base().prefix(""),
            base().pipeline_size(0),
            base().timeouts(zero, second),
            base().timeouts(second, zero),
            base().max_stream_len(0),
            base().expire_after(zero),
            base().expire_after(Duration::MAX),
            base().mapping(EventMapping::new().constant("payload", "x")),
        ] {
            assert!(broken.validate().is_err(), "{broken:?}");
        }
    }
}
