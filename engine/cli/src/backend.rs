//! Backends: the one place that makes an adapter of a URL, for `relay --to` and `import --from`.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tapeline::adapter::Adapter;
#[cfg(any(feature = "jetstream", feature = "redis"))]
use tapeline::adapter::EventMapping;
#[cfg(feature = "jetstream")]
use tapeline::adapter::{JetStreamAdapter, JetStreamAdapterConfig, JetStreamCreation};
#[cfg(feature = "redis")]
use tapeline::adapter::{RedisAdapter, RedisAdapterConfig};
use tapeline_reader::LogId;

use crate::exit::{Exit, Failure};
use crate::size::parse_count;
use crate::when;

/// The longest URL in a file.
const URL_BYTES_MAX: u64 = 64 << 10;

/// The settings of a backend that commands have. A URL may hold a password, so there is no `Debug`.
pub(crate) struct Backend<'a> {
    pub(crate) url: String,
    pub(crate) streams: &'a Streams,
}

/// The use that a command makes of a backend.
#[cfg_attr(not(any(feature = "jetstream", feature = "redis")), allow(dead_code, reason = "no backend is built in"))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access<'a> {
    /// It stores events.
    Store(&'a Kept),
    /// It reads this log back, and makes no stream.
    Read(Option<LogId>),
}

/// Options about the streams of a server, and the way to it.
#[derive(Debug, Args)]
pub(crate) struct Streams {
    /// First part of names on the server: PREFIX:LOG:SHARD of Redis, PREFIX.LOG.SHARD of NATS
    #[arg(long, value_name = "PREFIX", default_value = "tapeline")]
    pub(crate) prefix: String,
    /// Streams, or subjects of NATS: one for each
    #[arg(long, value_name = "PER", value_enum, default_value = "shard")]
    layout: Layout,
    /// NATS: file with credentials (.creds), as nsc writes it
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// File with the certificates (PEM) of the authorities to trust instead of those of the system
    #[arg(long, value_name = "FILE")]
    root_certificates: Option<PathBuf>,
}

/// The streams or subjects that the server has for the events of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    Shard,
    Session,
    Kind,
}

/// Options about what a server keeps of events.
#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Entries that each stream keeps, about; of NATS the one stream [default: all]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_count::<u64>)]
    max_len: Option<u64>,
    /// Redis: time after its last event at which a stream goes: 90s, 1h, 7d [default: none]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = when::parse_duration)]
    expire_after: Option<Duration>,
    /// Field (Redis) or header (NATS) of every event; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_field)]
    field: Vec<Field>,
    /// Field or header with the value at a dotted path of the payload: tenant=user.tenant; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_field)]
    field_from: Vec<Field>,
}

/// The two sides of a `NAME=VALUE`.
type Field = (String, String);

fn parse_field(text: &str) -> Result<Field, String> {
    let sides = text.split_once('=').ok_or_else(|| "NAME=VALUE is expected".to_owned())?;
    Ok((sides.0.to_owned(), sides.1.to_owned()))
}

impl Streams {
    /// The mapping of events that are stored or read.
    #[cfg(any(feature = "jetstream", feature = "redis"))]
    fn mapping(&self, access: Access<'_>) -> EventMapping {
        let mut mapping = EventMapping::from(match self.layout {
            Layout::Shard => tapeline::adapter::Layout::PerShard,
            Layout::Session => tapeline::adapter::Layout::PerSession,
            Layout::Kind => tapeline::adapter::Layout::PerKind,
        });
        if let Access::Store(kept) = access {
            mapping.constants.clone_from(&kept.field);
            mapping.values.clone_from(&kept.field_from);
        }
        mapping
    }
}

impl Backend<'_> {
    /// The adapter for the URL. It connects to nothing yet.
    ///
    /// # Errors
    /// [`Exit::Usage`] where it is none of a backend, without its text.
    pub(crate) fn adapter(&self, access: Access<'_>) -> Result<Box<dyn Adapter>, Failure> {
        for file in [&self.streams.root_certificates, &self.streams.credentials].into_iter().flatten() {
            File::open(file).map_err(|error| Failure::file(file, &error))?;
        }
        // Of several servers, the first says what they are.
        match self.url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "rediss" | "redis+unix") => self.redis(access),
            Some("nats" | "tls") => self.jetstream(access),
            _ => Err(Failure::new(
                Exit::Usage,
                "the URL is of no backend that this program knows: redis://HOST, rediss://HOST, redis+unix:///PATH, \
                 nats://HOST, tls://HOST",
            )),
        }
    }

    #[cfg(feature = "redis")]
    fn redis(&self, access: Access<'_>) -> Result<Box<dyn Adapter>, Failure> {
        let Streams { prefix, credentials, root_certificates, .. } = self.streams;
        if credentials.is_some() {
            let words = "--credentials is for NATS; a URL of Redis holds user and password";
            return Err(Failure::new(Exit::Usage, words));
        }
        let mut config = RedisAdapterConfig::new(&self.url).prefix(prefix).mapping(self.streams.mapping(access));
        config.root_certificates.clone_from(root_certificates);
        match access {
            Access::Store(kept) => {
                (config.streams.max_len, config.streams.expire_after) = (kept.max_len, kept.expire_after);
            }
            Access::Read(log) => config.log = log,
        }
        let adapter = RedisAdapter::new(config).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Box::new(adapter))
    }

    #[cfg(not(feature = "redis"))]
    fn redis(&self, _: Access<'_>) -> Result<Box<dyn Adapter>, Failure> {
        Err(Failure::new(Exit::Usage, "this program was built without the feature redis"))
    }

    #[cfg(feature = "jetstream")]
    fn jetstream(&self, access: Access<'_>) -> Result<Box<dyn Adapter>, Failure> {
        let Streams { prefix, credentials, root_certificates, .. } = self.streams;
        let mut config = JetStreamAdapterConfig::new(&self.url).prefix(prefix).mapping(self.streams.mapping(access));
        config.root_certificates.clone_from(root_certificates);
        if let Some(file) = credentials {
            config = config.credentials_file(file);
        }
        match access {
            Access::Store(kept) if kept.expire_after.is_some() => {
                return Err(Failure::new(Exit::Usage, "--expire-after is for Redis"));
            }
            Access::Store(kept) => config.stream.max_messages = kept.max_len,
            Access::Read(log) => (config.log, config.creation) = (log, JetStreamCreation::Operator),
        }
        let adapter = JetStreamAdapter::new(config).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Box::new(adapter))
    }

    #[cfg(not(feature = "jetstream"))]
    fn jetstream(&self, _: Access<'_>) -> Result<Box<dyn Adapter>, Failure> {
        Err(Failure::new(Exit::Usage, "this program was built without the feature jetstream"))
    }
}

/// The URL of the command line, or the first line of the file that it names.
///
/// # Errors
/// The kernel's; [`Exit::Usage`] where the file has no such line.
pub(crate) fn url(given: Option<&String>, file: Option<&PathBuf>) -> Result<String, Failure> {
    let Some(file) = file else { return Ok(given.cloned().unwrap_or_default()) };
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(URL_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| Failure::file(file, &error))?;
    match text.lines().next().map(str::trim) {
        Some(url) if !url.is_empty() => Ok(url.to_owned()),
        _ => Err(Failure::new(Exit::Usage, format_args!("{}: its first line is to be a URL", file.display()))),
    }
}

/// A text without the users and passwords of the URLs in it.
pub(crate) fn without_credentials(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        // A password may hold any of the characters that end one.
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push_str("...");
                &after[at..]
            }
            None => after,
        };
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_left_out_whatever_they_hold() {
        for (text, shown) in [
            ("redis://user:pass@host:1/0", "redis://...@host:1/0"),
            ("--to=rediss://:p@ss/wo?rd@host", "--to=rediss://...@host"),
            ("redis://host", "redis://host"),
            ("nats://t0ken@a,nats://t0ken@b", "nats://...@b"),
            ("a://u:p@h b://c, d://u@@e: f", "a://...@h b://c, d://...@e: f"),
            ("someone@example", "someone@example"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
