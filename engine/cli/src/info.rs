//! `tapeline info`: what a log is made of, and what would write it on this machine.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tapeline::log::{FORMAT_VERSION, SegmentSummary};
use tapeline::{EventBus, EventBusConfig};

use crate::args::DirectoryArgs;
use crate::exit::{Exit, Failure, open_to_read, report_damage};
use crate::human;
use crate::output::{self, Align, Style, Table};
use crate::stdout;

/// The log as `--json` prints it.
#[derive(Debug, Serialize)]
struct Description {
    directory: PathBuf,
    format_version: u32,
    log: String,
    created: String,
    shards: usize,
    events: u64,
    bytes: u64,
    backend: Backend,
    damage: Vec<String>,
    segments: Vec<Segment>,
}

#[derive(Debug, Serialize)]
struct Segment {
    shard: u16,
    file: String,
    first_sequence: u64,
    end_sequence: u64,
    bytes: u64,
    sealed: bool,
    created: String,
    epoch: String,
}

impl From<SegmentSummary> for Segment {
    fn from(summary: SegmentSummary) -> Self {
        Self {
            shard: summary.shard_id,
            file: summary.file,
            first_sequence: summary.base.get(),
            end_sequence: summary.end.get(),
            bytes: summary.bytes,
            sealed: summary.sealed,
            created: output::time(summary.created),
            epoch: format!("{:016x}", summary.epoch),
        }
    }
}

/// The device that a bus that opens the log would run on.
#[derive(Debug, Serialize)]
struct Backend {
    /// The driver that writes the blocks: `uring` or `blocking`.
    device: Option<&'static str>,
    /// Remarks: how it is set up, why it is not the first choice, why it is not known.
    notes: Vec<String>,
}

/// Describes the log.
pub(crate) fn run(args: &DirectoryArgs) -> Result<Exit, Failure> {
    let log = open_to_read(&args.directory)?;
    let segments: Vec<Segment> = log.segments().into_iter().map(Segment::from).collect();
    let description = Description {
        directory: args.directory.clone(),
        format_version: FORMAT_VERSION,
        log: log.log_id().to_string(),
        created: output::time(log.created()),
        shards: usize::from(log.num_shards()),
        events: segments.iter().map(|segment| segment.end_sequence.saturating_sub(segment.first_sequence)).sum(),
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        backend: Backend::tried_in(&args.directory),
        damage: log.damage().iter().map(ToString::to_string).collect(),
        segments,
    };
    let mut out = stdout::buffered();
    if args.json {
        output::json(&mut out, &description)?
    } else {
        description.print(&mut out)?
    }
    out.flush()?;
    Ok(report_damage(&log))
}

impl Backend {
    /// Finds out by opening a bus on a log of its own below `directory`, which it removes again. The log itself, and
    /// the process that writes it, are not touched.
    fn tried_in(directory: &Path) -> Self {
        let trial = directory.join(format!(".trial-{}", std::process::id()));
        let backend = pollster::block_on(Self::tried_at(&trial));
        let removed = fs::remove_dir_all(&trial);
        let mut backend = backend.unwrap_or_else(|failure| {
            let note = format!("a trial in {} failed: {failure}", directory.display());
            Self { device: None, notes: vec![note] }
        });
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            backend.notes.push(format!("cannot remove {}: {error}", trial.display()));
        }
        backend
    }

    async fn tried_at(trial: &Path) -> Result<Self, Failure> {
        let config = EventBusConfig::builder().directory(trial).segment_bytes(2 << 20).build();
        let bus = EventBus::new(config.map_err(Failure::failed)?).await?;
        let shards = bus.shard_stats();
        bus.shutdown().await?;
        let shard = shards.into_iter().next().ok_or_else(|| Failure::failed("a bus without shards"))?;
        Ok(Self { device: Some(shard.host.device), notes: shard.host.notes })
    }

    fn text(&self) -> String {
        self.device.unwrap_or("unknown").to_owned()
    }
}

impl Description {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let style = Style::of(&io::stdout());
        let facts = [
            ("log", self.log.clone()),
            ("format", format!("version {}", self.format_version)),
            ("created", self.created.clone()),
            ("shards", self.shards.to_string()),
            ("events", self.events.to_string()),
            ("bytes", self.bytes.to_string()),
            ("backend", self.backend.text()),
        ];
        for (name, value) in facts {
            writeln!(out, "{} {value}", style.strong(&format!("{name:<8}")))?;
        }
        for note in &self.backend.notes {
            writeln!(out, "{:<8} {}", "", output::printable(note))?;
        }
        writeln!(out)?;
        self.table().print(out, style)
    }

    fn table(&self) -> Table<6> {
        let mut table = Table::new([
            ("SHARD", Align::Right),
            ("SEGMENT", Align::Left),
            ("EVENTS", Align::Right),
            ("BYTES", Align::Right),
            ("STATE", Align::Left),
            ("CREATED", Align::Left),
        ]);
        for (at, segment) in self.segments.iter().enumerate() {
            let is_last = self.segments.get(at + 1).is_none_or(|next| next.shard != segment.shard);
            let unsealed = if is_last { "active" } else { "no footer" };
            let state = if segment.sealed { "sealed" } else { unsealed };
            table.row([
                segment.shard.to_string(),
                segment.file.clone(),
                human::range(segment.first_sequence..segment.end_sequence),
                segment.bytes.to_string(),
                state.to_owned(),
                segment.created.clone(),
            ]);
        }
        table
    }
}
