//! The settings of the adapter for Redis Streams.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tapeline_reader::ConfigError;
use tapeline_storage::format::LogId;

/// Redis's default limit of one value.
const VALUE_BYTES: usize = 512 << 20;

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
    /// The first part of the names of streams: that of shard 3 is `PREFIX:LOG:3`, with the log's id. Default
    /// `tapeline`.
    pub prefix: String,
    /// Events that one transaction adds at most. Default 1000.
    pub pipeline_size: usize,
    /// The longest time for a connection to be made, TLS and credentials included. Default 5 seconds.
    pub connect_timeout: Duration,
    /// The longest time for the answer to one transaction or page. Default 5 seconds.
    pub command_timeout: Duration,
    /// Entries that a stream keeps, about (`MAXLEN ~`): older ones go. Default: all.
    pub max_stream_len: Option<u64>,
    /// Bytes of a payload that it takes at most. The server's own limit (`proto-max-bulk-len`) applies, too, where the
    /// user may read it. Default 512 MiB.
    pub payload_bytes_max: usize,
    /// The log to read back. Default: that of the first batch which it stored.
    pub log: Option<LogId>,
    /// A file with the certificates (PEM) of the authorities that it trusts instead of those of the system. For
    /// `rediss`.
    pub root_certificates: Option<PathBuf>,
}

impl fmt::Debug for RedisAdapterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapterConfig")
            .field("server", &self.server())
            .field("prefix", &self.prefix)
            .field("pipeline_size", &self.pipeline_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("max_stream_len", &self.max_stream_len)
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
            prefix: "tapeline".into(),
            pipeline_size: 1000,
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            max_stream_len: None,
            payload_bytes_max: VALUE_BYTES,
            log: None,
            root_certificates: None,
        }
    }

    /// Sets [`RedisAdapterConfig::prefix`].
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
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

    /// Sets [`RedisAdapterConfig::max_stream_len`].
    #[must_use]
    pub fn max_stream_len(mut self, entries: u64) -> Self {
        self.max_stream_len = Some(entries);
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
        let broken = match self {
            Self { prefix, .. } if prefix.is_empty() => "the prefix of streams is empty",
            Self { pipeline_size: 0, .. } => "pipeline_size is 0; at least 1",
            Self { connect_timeout: Duration::ZERO, .. } => "connect_timeout is 0; more than that",
            Self { command_timeout: Duration::ZERO, .. } => "command_timeout is 0; more than that",
            Self { max_stream_len: Some(0), .. } => "max_stream_len is 0; at least 1",
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
        ] {
            assert!(broken.validate().is_err(), "{broken:?}");
        }
    }
}
