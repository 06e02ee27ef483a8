//! The settings of the adapter for NATS JetStream.
//!
//! `servers` (the URLs, and the credentials in them), `stream` (the stream, and how events are laid out in it).

mod servers;
mod stream;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tapeline_reader::ConfigError;
use tapeline_storage::format::LogId;

pub(crate) use self::servers::Credentials;
pub use self::stream::{JetStreamCreation, JetStreamDiscard, JetStreamSettings};
use super::EventMapping;

/// Settings of a [`JetStreamAdapter`](crate::adapter::JetStreamAdapter). `Debug` prints no credentials.
///
/// ```
/// use std::time::Duration;
/// use tapeline::adapter::JetStreamAdapterConfig;
///
/// let config = JetStreamAdapterConfig::new("tls://relay:secret@a.example,tls://b.example")
///     .prefix("inference")
///     .max_age(Duration::from_secs(7 * 24 * 3600));
/// assert!(!format!("{config:?}").contains("secret"));
/// assert_eq!(config.stream.name(), "inference");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JetStreamAdapterConfig {
    /// The URLs as they were given.
    urls: String,
    /// The credentials that were set apart from the URLs.
    credentials: Option<Credentials>,
    /// A file with the certificates (PEM) of the authorities that it trusts instead of those of the system. With it,
    /// the connection is of TLS or none.
    pub root_certificates: Option<PathBuf>,
    /// The stream, and the layout of events in it.
    pub stream: JetStreamSettings,
    /// The one who makes the stream. Default: the adapter.
    pub creation: JetStreamCreation,
    /// Events that are published before the first of them is acknowledged, at most. Default 1000.
    pub pipeline_size: usize,
    /// The longest time for a connection to one server to be made, TLS and credentials included. Default 5 seconds.
    pub connect_timeout: Duration,
    /// The longest time for one answer of the server. Default 5 seconds.
    pub request_timeout: Duration,
    /// The log to read back. Default: that of the first batch which it stored.
    pub log: Option<LogId>,
}

impl fmt::Debug for JetStreamAdapterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamAdapterConfig")
            .field("servers", &self.server())
            .field("root_certificates", &self.root_certificates)
            .field("stream", &self.stream)
            .field("creation", &self.creation)
            .field("pipeline_size", &self.pipeline_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl JetStreamAdapterConfig {
    /// Those for the servers of one cluster, separated by commas: `nats://[USER:PASSWORD@]HOST[:PORT]`,
    /// `nats://TOKEN@HOST`, or `tls://` for TLS alone. A server's certificate is verified. Reserved characters of
    /// credentials are percent-encoded.
    pub fn new(urls: impl Into<String>) -> Self {
        Self {
            urls: urls.into(),
            credentials: None,
            root_certificates: None,
            stream: JetStreamSettings::default(),
            creation: JetStreamCreation::Adapter,
            pipeline_size: 1000,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            log: None,
        }
    }

    /// Sets user and password.
    #[must_use]
    pub fn user_and_password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Password { user: user.into(), password: password.into() });
        self
    }

    /// Sets a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Token(token.into()));
        self
    }

    /// Sets a file of credentials, as `nsc` writes it (`.creds`). It is read for each connection.
    #[must_use]
    pub fn credentials_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials = Some(Credentials::File(file.into()));
        self
    }

    /// Sets [`JetStreamAdapterConfig::root_certificates`].
    #[must_use]
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(file.into());
        self
    }

    /// Sets [`JetStreamSettings::prefix`].
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.stream.prefix = prefix.into();
        self
    }

    /// Sets [`JetStreamSettings::name`].
    #[must_use]
    pub fn stream_name(mut self, name: impl Into<String>) -> Self {
        self.stream.name = Some(name.into());
        self
    }

    /// Sets [`JetStreamSettings::mapping`].
    #[must_use]
    pub fn mapping(mut self, mapping: impl Into<EventMapping>) -> Self {
        self.stream.mapping = mapping.into();
        self
    }

    /// Sets [`JetStreamSettings::max_messages`].
    #[must_use]
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.stream.max_messages = Some(messages);
        self
    }

    /// Sets [`JetStreamSettings::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.stream.max_bytes = Some(bytes);
        self
    }

    /// Sets [`JetStreamSettings::max_age`].
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.stream.max_age = Some(age);
        self
    }

    /// Sets [`JetStreamSettings::discard`].
    #[must_use]
    pub fn discard(mut self, discard: JetStreamDiscard) -> Self {
        self.stream.discard = discard;
        self
    }

    /// Sets [`JetStreamSettings::replicas`].
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.stream.replicas = replicas;
        self
    }

    /// Sets [`JetStreamSettings::dedup_window`](field@JetStreamSettings::dedup_window).
    #[must_use]
    pub fn dedup_window(mut self, window: Duration) -> Self {
        self.stream.dedup_window = window;
        self
    }

    /// Sets [`JetStreamAdapterConfig::creation`].
    #[must_use]
    pub fn creation(mut self, creation: JetStreamCreation) -> Self {
        self.creation = creation;
        self
    }

    /// Sets [`JetStreamAdapterConfig::pipeline_size`].
    #[must_use]
    pub fn pipeline_size(mut self, events: usize) -> Self {
        self.pipeline_size = events;
        self
    }

    /// Sets [`JetStreamAdapterConfig::connect_timeout`] and [`JetStreamAdapterConfig::request_timeout`].
    #[must_use]
    pub fn timeouts(mut self, connect: Duration, request: Duration) -> Self {
        (self.connect_timeout, self.request_timeout) = (connect, request);
        self
    }

    /// Sets [`JetStreamAdapterConfig::log`].
    #[must_use]
    pub fn log(mut self, log: LogId) -> Self {
        self.log = Some(log);
        self
    }

    /// The servers' URLs without credentials.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn servers(&self) -> Result<Vec<String>, ConfigError> {
        servers::servers(&self.urls)
    }

    /// The servers without credentials, for messages.
    pub(crate) fn server(&self) -> String {
        self.servers().map_or_else(|_| "servers whose URLs cannot be used".into(), |servers| servers.join(","))
    }

    /// The credentials: those that were set, or those in the URLs.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, ConfigError> {
        match &self.credentials {
            Some(credentials) => Ok(Some(credentials.clone())),
            None => servers::credentials(&self.urls),
        }
    }

    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.servers()?;
        self.credentials()?;
        self.stream.validate()?;
        let broken = match self {
            Self { pipeline_size: 0, .. } => "pipeline_size is 0; at least 1",
            Self { connect_timeout: Duration::ZERO, .. } => "connect_timeout is 0; more than that",
            Self { request_timeout: Duration::ZERO, .. } => "request_timeout is 0; more than that",
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
        for urls in [
            "nats://user:pa%40ss@host:1",
            "tls://secret@host,tls://secret@other",
            "user:secret@host",
            "http://user:secret@host",
            "nats://user:secret@host:port",
        ] {
            let config = JetStreamAdapterConfig::new(urls);
            let shown = format!("{config:?} {} {:?}", config.server(), config.validate());
            assert!(!["pa%40ss", "pa@ss", "user", "secret"].iter().any(|secret| shown.contains(secret)), "{shown}");
        }
        let config = JetStreamAdapterConfig::new("nats://host").user_and_password("user", "secret");
        assert!(!format!("{config:?}").contains("secret"));
        assert!(!format!("{:?}", config.credentials()).contains("secret"));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let base = || JetStreamAdapterConfig::new("nats://host");
        assert!(base().validate().is_ok());
        let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
        for broken in [
            base().pipeline_size(0),
            base().timeouts(zero, second),
            base().timeouts(second, zero),
            base().prefix(""),
            base().prefix("a..b"),
            base().prefix("a.*"),
            base().prefix("$JS"),
            base().prefix("two words"),
            base().stream_name("a.b"),
            base().stream_name(""),
            base().max_messages(0),
            base().max_bytes(0),
            base().max_bytes(1 << 63),
            base().max_age(zero),
            base().replicas(0),
            base().replicas(6),
            base().dedup_window(zero),
            base().mapping(EventMapping::new().constant("payload", "x")),
            base().max_age(second).dedup_window(Duration::from_secs(2)),
            JetStreamAdapterConfig::new(""),
            JetStreamAdapterConfig::new("nats://host,"),
        ] {
            assert!(broken.validate().is_err(), "{broken:?}");
        }
        assert_eq!(base().prefix("a.b").stream.name(), "a_b");
        assert_eq!(base().max_age(second).stream.dedup_window(), second);
    }
}
