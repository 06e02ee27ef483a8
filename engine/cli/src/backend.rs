//! Backends: the one place that makes an adapter of a URL, for `relay --to` and `import --from`.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use tapeline::adapter::Adapter;
#[cfg(feature = "redis")]
use tapeline::adapter::{RedisAdapter, RedisAdapterConfig};
use tapeline_reader::LogId;

use crate::exit::{Exit, Failure};

/// The longest URL in a file.
const URL_BYTES_MAX: u64 = 64 << 10;

/// The settings of a backend that commands have. A URL may hold a password, so there is no `Debug`.
pub(crate) struct Backend<'a> {
    pub(crate) url: String,
    pub(crate) streams: &'a Streams,
    /// Entries that each stream keeps, about.
    #[cfg_attr(not(feature = "redis"), expect(dead_code))]
    pub(crate) max_len: Option<u64>,
}

/// Options about the streams of a server, and the way to it.
#[derive(Debug, Args)]
pub(crate) struct Streams {
    /// First part of the names of streams on the server: PREFIX:LOG:SHARD
    #[arg(long, value_name = "PREFIX", default_value = "tapeline")]
    pub(crate) prefix: String,
    /// File with the certificates (PEM) of the authorities to trust instead of those of the system
    #[arg(long, value_name = "FILE")]
    root_certificates: Option<PathBuf>,
}

impl Backend<'_> {
    /// The adapter for the URL, which reads this log back. It connects to nothing yet.
    ///
    /// # Errors
    /// [`Exit::Usage`] where it is none of a backend, without its text.
    pub(crate) fn adapter(&self, log: Option<LogId>) -> Result<Box<dyn Adapter>, Failure> {
        if let Some(file) = &self.streams.root_certificates {
            File::open(file).map_err(|error| Failure::file(file, &error))?;
        }
        match self.url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "rediss" | "redis+unix") => self.redis(log),
            _ => Err(Failure::new(
                Exit::Usage,
                "the URL is of no backend that this program knows: redis://HOST, rediss://HOST, redis+unix:///PATH",
            )),
        }
    }

    #[cfg(feature = "redis")]
    fn redis(&self, log: Option<LogId>) -> Result<Box<dyn Adapter>, Failure> {
        let mut config = RedisAdapterConfig::new(&self.url).prefix(&self.streams.prefix);
        (config.max_stream_len, config.log) = (self.max_len, log);
        config.root_certificates.clone_from(&self.streams.root_certificates);
        let adapter = RedisAdapter::new(config).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Box::new(adapter))
    }

    #[cfg(not(feature = "redis"))]
    fn redis(&self, _: Option<LogId>) -> Result<Box<dyn Adapter>, Failure> {
        Err(Failure::new(Exit::Usage, "this program was built without the feature redis"))
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
            ("a://u:p@h b://c, d://u@@e: f", "a://...@h b://c, d://...@e: f"),
            ("someone@example", "someone@example"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
