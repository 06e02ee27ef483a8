//! The command line of `tapeline relay`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tapeline::adapter::Adapter;
use tapeline_reader::{Filter, Kind};

use crate::backend::{self, Access, Backend, Kept, Streams};
use crate::exit::Failure;
use crate::select::{Selection, parse_filter, parse_kind};
use crate::when;

/// Arguments of `tapeline relay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline relay log --to redis://localhost
  tapeline relay log --to-file /etc/tapeline/redis.url --kind tool_call --name tool-calls
  tapeline relay log --to nats://localhost --layout session --field region=eu-1
  tapeline relay log --to redis://localhost --once   all there is, and no more
  tapeline relay log --to redis://localhost --once --redrive

It goes on from where the relay of this name stood, may run while the log is written or after, and tries on while the server is
away. A signal drains it for --grace, a second one ends it at once: the status is 0 where the server has confirmed all there is,
and 130 otherwise. The rest comes after the next start. docs/ADAPTERS.md has the layout of streams, and what is guaranteed.")]
pub(crate) struct RelayArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(super) target: Target,
    /// Name of the relay, and of its cursor in the log [default: that of the kind of server, redis or jetstream]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// End once the server has confirmed all there is
    #[arg(long)]
    pub(super) once: bool,
    /// Deliver the dead letters again first
    #[arg(long)]
    pub(super) redrive: bool,
    /// Longest time that a signal waits for the rest to be confirmed: 5s, 500ms, 1m
    #[arg(long, value_name = "TIME", default_value = "10s", allow_hyphen_values = true, value_parser = when::parse_duration)]
    pub(super) grace: Duration,
    /// Print progress each second, as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) events: Events,
}

/// The server that is fed.
#[derive(Args)]
pub(super) struct Target {
    /// Server: redis://[USER:PASSWORD@]HOST[:PORT][/DB] or nats://[...]HOST[:PORT]; rediss:// and tls:// have TLS
    #[arg(long, value_name = "URL", required_unless_present = "to_file", conflicts_with = "to_file")]
    to: Option<String>,
    /// File whose first line is the URL, so that no list of processes shows a password
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
    #[command(flatten)]
    streams: Streams,
    #[command(flatten)]
    kept: Kept,
}

impl Target {
    /// The adapter for the server. It connects to nothing yet.
    pub(super) fn adapter(&self) -> Result<Box<dyn Adapter>, Failure> {
        let url = backend::url(self.to.as_ref(), self.to_file.as_ref())?;
        Backend { url, streams: &self.streams }.adapter(Access::Store(&self.kept))
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("streams", &self.streams).finish_non_exhaustive()
    }
}

/// The events that are relayed. It has no times: those follow from the cursor.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which events")]
pub(super) struct Events {
    /// Only this session: its name, or its id as 32 hexadecimal digits; may be repeated
    #[arg(long, value_name = "NAME")]
    session: Vec<String>,
    /// Only this kind: its name (token, tool_call, ...) or number; may be repeated
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    kind: Vec<Kind>,
    /// Only events that this filter lets through: JSON; `tapeline help filter` has its grammar
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    filter: Option<Filter>,
}

impl Events {
    pub(super) fn selection(&self) -> Selection {
        let Self { session, kind, filter } = self;
        let (session, kind, filter) = (session.clone(), kind.clone(), filter.clone());
        Selection { session, kind, filter, ..Selection::default() }
    }
}
