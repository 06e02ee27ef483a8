//! `tapeline export`: events for other programs, and for `tapeline import`.

mod account;
mod answer;
mod args;
mod calls;
mod chunks;
mod knowledge;
mod lack;
mod names;
mod parquet;
mod stream;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use tapeline_reader::{ConsumerError, LogFiles, SessionId, SessionOpening, StoredEvent, advice};

pub(crate) use self::args::ExportArgs;
use self::args::ExportFormat;
use self::chunks::Chunks;
use self::parquet::Table;
use crate::exit::{Exit, Failure, check_outside, open_to_read};
use crate::form::{OutputFormat, Printer};
use crate::message;
use crate::names::Names;
use crate::progress::Progress;
use crate::select::{AsksFor, Met, Selection};
use crate::stdout;

/// Bytes collected before they are written.
const OUTPUT_BYTES: usize = 256 << 10;

/// Takes the events.
trait Sink {
    /// The session was opened as this before its first event that comes. Only what asks for openings hears of it.
    fn open(&mut self, _session: SessionId, _opening: &SessionOpening, _names: &mut Printer) {}

    fn take(&mut self, event: &StoredEvent, names: &mut Printer) -> Result<(), Failure>;

    /// Something is in the place of events that cannot be read.
    fn miss(&mut self, _error: &ConsumerError) {}

    fn finish(self: Box<Self>, names: &mut Printer) -> Result<Exit, Failure>;
}

/// Exports what the command line asks for.
///
/// Events that are gone or cannot be read are reported on standard error and in the exit status; the export goes on
/// after them.
pub(crate) fn run(args: &ExportArgs) -> Result<Exit, Failure> {
    let log = open_to_read(&args.directory)?;
    let format = if args.format == ExportFormat::Sse { OutputFormat::Sse } else { OutputFormat::Jsonl };
    let mut printer = Printer::for_export(format, &args.directory);
    let names = Names::of(&args.directory, &args.selection.session, &mut printer);
    let mut exporting = Exporting {
        args,
        log: &log,
        sink: None,
        printer,
        names: (args.format != ExportFormat::Sse).then_some(names),
        progress: Progress::new(None),
        exit: Exit::Done,
    };
    let found = args.selection.replay(&log, asks_for(args.format), |met| exporting.take(met))?;
    let Exporting { sink, progress, exit, mut printer, .. } = exporting;
    drop(progress);
    let finished = sink.map_or_else(|| made(&log, args), Ok)?.finish(&mut printer)?;
    Ok(exit.max(found).max(finished))
}

/// The openings that a format needs: formats, models and names of streams stand in openings, and `import` keeps them.
fn asks_for(format: ExportFormat) -> AsksFor {
    match format {
        ExportFormat::Sse | ExportFormat::OpenaiChunks => AsksFor::Openings,
        ExportFormat::Jsonl => AsksFor::Beginnings,
        ExportFormat::Parquet => AsksFor::Events,
    }
}

/// An export on its way.
struct Exporting<'a> {
    args: &'a ExportArgs,
    log: &'a LogFiles,
    /// Made when there is something to write: what a refused command names stays as it is.
    sink: Option<Box<dyn Sink>>,
    printer: Printer,
    /// The names of sessions; `None`: the format has none.
    names: Option<Names>,
    progress: Progress,
    /// The worst that was met.
    exit: Exit,
}

impl Exporting<'_> {
    fn take(&mut self, met: Met) -> Result<(), Failure> {
        match met {
            Met::Opening(session, opening) => {
                self.printer.open_before(session, opening.clone());
                self.find_name(session);
                let sink = in_use(&mut self.sink, || made(self.log, self.args))?;
                sink.open(session, &opening, &mut self.printer);
            }
            Met::Event(Ok(event)) => {
                self.progress.add(event.raw.len() as u64);
                self.printer.meet(&event);
                self.find_name(event.session);
                let sink = in_use(&mut self.sink, || made(self.log, self.args))?;
                sink.take(&event, &mut self.printer)?;
            }
            Met::Event(Err(error)) => {
                in_use(&mut self.sink, || made(self.log, self.args))?.miss(&error);
                let failure = Failure::from(error);
                self.exit = self.exit.max(failure.exit);
                message::error(failure);
            }
        }
        Ok(())
    }

    fn find_name(&mut self, session: SessionId) {
        if let Some(names) = &mut self.names {
            names.find(session, &mut self.printer);
        }
    }
}

/// The sink, made the first time.
fn in_use(
    sink: &mut Option<Box<dyn Sink>>,
    make: impl FnOnce() -> Result<Box<dyn Sink>, Failure>,
) -> Result<&mut Box<dyn Sink>, Failure> {
    Ok(match sink {
        Some(sink) => sink,
        none => none.insert(make()?),
    })
}

fn made(log: &LogFiles, args: &ExportArgs) -> Result<Box<dyn Sink>, Failure> {
    let out = args.out.as_deref().filter(|path| *path != Path::new("-"));
    out.map_or(Ok(()), |out| check_outside(&args.directory, out))?;
    Ok(match (args.format, out) {
        (ExportFormat::OpenaiChunks, directory) => Box::new(Chunks::new(log, args, directory)?),
        (ExportFormat::Parquet, Some(path)) => Box::new(Table::create(path)?),
        (ExportFormat::Parquet, None) if io::stdout().is_terminal() => {
            return Err(Failure::new(
                Exit::Usage,
                "a Parquet file is not for a terminal: name it with --out, or pipe it",
            ));
        }
        (ExportFormat::Parquet, None) => Box::new(Table::to_standard_output()?),
        (ExportFormat::Jsonl | ExportFormat::Sse, out) => Box::new(Text::new(out, args.selection.clone())?),
    })
}

/// Lines, or frames.
struct Text {
    selection: Selection,
    out: Box<dyn Write>,
    /// The name of the output, for messages.
    place: String,
}

impl Text {
    fn new(path: Option<&Path>, selection: Selection) -> Result<Self, Failure> {
        let (out, place): (Box<dyn Write>, _) = match path {
            Some(path) => {
                let file = File::create(path).map_err(|error| Failure::file(path, &error))?;
                (Box::new(BufWriter::with_capacity(OUTPUT_BYTES, file)), path.display().to_string())
            }
            None => (Box::new(stdout::buffered()), "standard output".to_owned()),
        };
        Ok(Self { selection, out, place })
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::failed(format_args!("{}: {error}{}", self.place, advice(error)))
    }
}

impl Sink for Text {
    fn take(&mut self, event: &StoredEvent, names: &mut Printer) -> Result<(), Failure> {
        names.print(&mut self.out, event).map_err(|error| self.failed(&error))
    }

    fn finish(mut self: Box<Self>, names: &mut Printer) -> Result<Exit, Failure> {
        names.finish(&mut self.out).and_then(|()| self.out.flush()).map_err(|error| self.failed(&error))?;
        names.report_nothing(&self.selection);
        Ok(Exit::Done)
    }
}
