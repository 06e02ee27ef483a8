//! Streams of `chat.completion.chunk` objects, as servers that speak OpenAI's protocol send them: a stream for each
//! session.
//!
//! | event | becomes |
//! |---|---|
//! | a server-sent event, or a payload, that is such a chunk | itself |
//! | one that is a failure | an object with the error; the answer ends without a reason to finish |
//! | any other server-sent event | nothing, and is counted |
//! | kind `token` or `unspecified` | `delta.content`: the text; of JSON that is a piece of an answer its text |
//! | a line or bytes that `record` wrote, neither JSON nor text of a model | nothing, and is counted |
//! | kind `tool_call` | `delta.tool_calls`: pieces of one `id` are one call |
//! | other kinds | nothing |
//!
//! `crate::words` says what data is, `crate::convention` which other objects are pieces of an answer, `stream` what
//! becomes of a session's events, `knowledge` which answers are whole, this module where it goes. A stream's
//! bytes are kept until there are [`WAITING_BYTES`] of all streams; so one file is open at a time, however many there
//! are.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tapeline_reader::{ConsumerError, LogFiles, SessionId, SessionOpening, StoredEvent, kinds};

use super::Sink;
use super::account::Account;
use super::args::{ExportArgs, TokenForm};
use super::knowledge::{Knowledge, Seen};
use super::lack::Lack;
use super::names::file_name;
use super::stream::Stream;
use crate::exit::{Exit, Failure};
use crate::form::Printer;
use crate::human;
use crate::message;
use crate::past::Past;
use crate::stdout::Stdout;

/// Bytes that wait to be written, of all streams.
const WAITING_BYTES: usize = 16 << 20;

/// Files that could not be written which are named, one a message.
const NAMED_MAX: u64 = 8;

/// The streams.
pub(super) struct Chunks {
    /// The directory of the files; `None`: standard output, which takes one session.
    directory: Option<PathBuf>,
    tokens: TokenForm,
    knowledge: Knowledge,
    streams: HashMap<SessionId, Output>,
    past: Past,
    waiting: usize,
    /// Files that could not be written.
    unwritten: u64,
}

/// A stream and where it goes.
struct Output {
    stream: Stream,
    seen: Seen,
    target: Target,
}

/// The place of a stream.
enum Target {
    Standard,
    /// A file that is not there, or holds something else.
    New(PathBuf),
    /// A file that has the stream's beginning.
    Begun(PathBuf),
    /// A file that could not be written. The failure was reported.
    Failed,
}

impl Chunks {
    /// Streams of a log that go where the command line says.
    pub(super) fn new(log: &LogFiles, args: &ExportArgs, directory: Option<&Path>) -> Result<Self, Failure> {
        match directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(|error| Failure::file(directory, &error))?;
            }
            None if args.selection.session.len() != 1 => {
                return Err(Failure::new(
                    Exit::Usage,
                    "one stream a session: choose one with --session, or name a directory with --out",
                ));
            }
            None => {}
        }
        Ok(Self {
            directory: directory.map(Path::to_owned),
            tokens: args.tokens,
            knowledge: Knowledge::of(log, &args.selection),
            streams: HashMap::new(),
            past: Past::of(&args.directory),
            waiting: 0,
            unwritten: 0,
        })
    }

    /// The stream of a session, which begins with this lack if it is new.
    fn output(&mut self, session: SessionId, printer: &Printer, lack: Option<Lack>) -> &mut Output {
        let Self { directory, tokens, knowledge, streams, .. } = self;
        streams.entry(session).or_insert_with(|| {
            let name = printer.name_of(session);
            let path = directory.as_ref().map(|directory| directory.join(file_name(session, name)));
            let name = name.map_or_else(|| session.to_string(), str::to_owned);
            Output {
                stream: Stream::new(name, *tokens, knowledge.of_all()).beginning_with(lack),
                seen: Seen::default(),
                target: path.map_or(Target::Standard, Target::New),
            }
        })
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Those of standard output. A file that cannot be written is reported and counted, and the others go on.
    fn write_all(&mut self) -> Result<(), Failure> {
        self.waiting = 0;
        for output in self.streams.values_mut() {
            if let Err(failure) = output.write() {
                if matches!(output.target, Target::Standard) {
                    return Err(failure);
                }
                output.target = Target::Failed;
                self.unwritten += 1;
                if self.unwritten <= NAMED_MAX {
                    message::error(failure);
                }
            }
        }
        Ok(())
    }
}

impl Sink for Chunks {
    fn open(&mut self, session: SessionId, opening: &SessionOpening, names: &mut Printer) {
        self.output(session, names, Some(Lack::Beginning)).stream.open(opening);
    }

    fn miss(&mut self, error: &ConsumerError) {
        self.knowledge.miss();
        let shard = match error {
            ConsumerError::Gap(gap) => Some(gap.shard_id),
            ConsumerError::Damaged(damage) => Some(damage.shard_id),
            ConsumerError::Record { shard_id, .. } => Some(*shard_id),
            _ => None,
        };
        let outputs = self.streams.values_mut().filter(|output| shard.is_none_or(|shard| output.seen.last.0 == shard));
        outputs.for_each(|output| output.stream.lack(Lack::Middle));
    }

    fn take(&mut self, event: &StoredEvent, names: &mut Printer) -> Result<(), Failure> {
        let opens = event.kind == kinds::SESSION && SessionOpening::parse(&event.raw).name.is_some();
        let lack = if opens { None } else { self.knowledge.of_beginning() };
        self.output(event.session, names, lack);
        let Some(output) = self.streams.get_mut(&event.session) else { return Ok(()) };
        output.seen.events += u64::from(event.kind != kinds::SESSION);
        output.seen.last = (event.shard_id, event.sequence.get());
        let before = output.stream.bytes.len();
        output.stream.take(event, &mut self.past);
        let more = output.stream.bytes.len() - before;
        self.waiting += more;
        if self.waiting >= WAITING_BYTES { self.write_all() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>, _names: &mut Printer) -> Result<Exit, Failure> {
        let (mut total, mut empty) = (Account::default(), Empty::default());
        for (session, output) in &mut self.streams {
            let account = output.stream.finish(self.knowledge.end_of(*session, output.seen));
            total.add(&account);
            empty.add(output);
        }
        self.write_all()?;
        total.report();
        empty.report();
        Ok(total.exit().max(self.report_unwritten()))
    }
}

impl Chunks {
    /// Says how many files could not be written.
    fn report_unwritten(&self) -> Exit {
        if self.unwritten == 0 {
            return Exit::Done;
        }
        if self.unwritten > NAMED_MAX {
            message::error(format_args!("... and {} more", self.unwritten - NAMED_MAX));
        }
        let files = human::some(self.streams.len() as u64, "file");
        message::error(format_args!("{} of {files} could not be written", human::count(self.unwritten)));
        Exit::Failed
    }
}

/// Streams without a byte, of sessions that have events.
#[derive(Default)]
struct Empty {
    streams: u64,
    events: u64,
}

impl Empty {
    fn add(&mut self, output: &Output) {
        let has_begun = !output.stream.bytes.is_empty() || matches!(output.target, Target::Begun(_) | Target::Failed);
        if !has_begun && !output.stream.has_written() && output.seen.events > 0 {
            self.streams += 1;
            self.events += output.seen.events;
        }
    }

    fn report(&self) {
        if self.streams > 0 {
            let (streams, events) = (human::some(self.streams, "stream"), human::some(self.events, "event"));
            message::note(format_args!("{streams} without an answer: nothing in {events} is a whole piece of one"));
        }
    }
}

impl Output {
    /// Writes what waits. The first time, a file that is there is replaced.
    fn write(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.stream.bytes);
        let (path, opened) = match &self.target {
            Target::Standard => return Ok(Stdout::default().write_all(&bytes)?),
            Target::Failed => return Ok(()),
            Target::Begun(_) if bytes.is_empty() => return Ok(()),
            Target::Begun(path) => (path.clone(), OpenOptions::new().append(true).open(path)),
            Target::New(path) => (path.clone(), File::create(path)),
        };
        opened.and_then(|mut file| file.write_all(&bytes)).map_err(|error| Failure::file(&path, &error))?;
        self.target = Target::Begun(path);
        Ok(())
    }
}
