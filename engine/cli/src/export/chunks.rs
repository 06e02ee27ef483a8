//! Streams of `chat.completion.chunk` objects, as servers that speak OpenAI's protocol send them: a stream for each
//! session.
//!
//! | event | becomes |
//! |---|---|
//! | a server-sent event, or a payload, that is such a chunk | itself |
//! | one that is a failure | an object with the error; the answer ends without a reason to finish |
//! | any other server-sent event | nothing, and is counted |
//! | kind `token` or `unspecified` | `delta.content`: the text; of a JSON object its `content`, `text` or `delta` |
//! | a line or bytes that `record` wrote, neither JSON nor text of a model | nothing, and is counted |
//! | kind `tool_call` | `delta.tool_calls`: pieces of one `id` are one call |
//! | other kinds | nothing |
//!
//! `crate::words` says what data is, `stream` what becomes of a session's events, this module where it goes. A stream's
//! bytes are kept until there are [`WAITING_BYTES`] of all streams; so one file is open at a time, however many there
//! are.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tapeline_reader::{SessionId, SessionOpening, StoredEvent};

use super::Sink;
use super::names::FileNames;
use super::stream::{Account, Stream};
use crate::exit::{Exit, Failure};
use crate::form::Printer;
use crate::human;
use crate::joined;
use crate::message;
use crate::past::Past;
use crate::select::Selection;
use crate::stdout::Stdout;

/// Bytes that wait to be written, of all streams.
const WAITING_BYTES: usize = 16 << 20;

/// The streams.
pub(super) struct Chunks {
    /// The directory of the files; `None`: standard output, which takes one session.
    directory: Option<PathBuf>,
    names: FileNames,
    streams: HashMap<SessionId, Output>,
    past: Past,
    waiting: usize,
}

/// A stream and where it goes.
struct Output {
    stream: Stream,
    /// The file; `None`: standard output.
    path: Option<PathBuf>,
    /// True if the file is there already, with the stream's beginning.
    is_begun: bool,
}

impl Chunks {
    pub(super) fn into_files(directory: &Path, log: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(|error| Failure::file(directory, &error))?;
        Ok(Self::new(Some(directory.to_owned()), log))
    }

    pub(super) fn to_standard_output(selection: &Selection, log: &Path) -> Result<Self, Failure> {
        match selection.session.len() {
            1 => Ok(Self::new(None, log)),
            _ => Err(Failure::new(
                Exit::Usage,
                "one stream a session: choose one with --session, or name a directory with --out",
            )),
        }
    }

    fn new(directory: Option<PathBuf>, log: &Path) -> Self {
        let (names, past) = (FileNames::default(), Past::of(log));
        Self { directory, names, streams: HashMap::new(), past, waiting: 0 }
    }

    fn output(&mut self, session: SessionId, printer: &Printer) -> &mut Output {
        let Self { directory, names, streams, .. } = self;
        streams.entry(session).or_insert_with(|| {
            let name = printer.name_of(session).map_or_else(|| session.to_string(), str::to_owned);
            let path = directory.as_ref().map(|directory| directory.join(names.give(session, &name)));
            Output { stream: Stream::new(name), path, is_begun: false }
        })
    }

    fn write_all(&mut self) -> Result<(), Failure> {
        self.waiting = 0;
        self.streams.values_mut().try_for_each(Output::write)
    }
}

impl Sink for Chunks {
    fn open(&mut self, session: SessionId, opening: &SessionOpening, names: &mut Printer) {
        self.output(session, names).stream.open(opening);
    }

    fn take(&mut self, event: &StoredEvent, names: &mut Printer) -> Result<(), Failure> {
        self.output(event.session, names);
        let Some(output) = self.streams.get_mut(&event.session) else { return Ok(()) };
        let before = output.stream.bytes.len();
        output.stream.take(event, &mut self.past);
        let more = output.stream.bytes.len() - before;
        self.waiting += more;
        if self.waiting >= WAITING_BYTES { self.write_all() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>, _names: &mut Printer) -> Result<(), Failure> {
        let mut total = Account::default();
        for output in self.streams.values_mut() {
            let Account { left_out, incomplete, failed, broken_off } = output.stream.finish();
            total.left_out += left_out;
            total.incomplete += incomplete;
            total.failed += failed;
            total.broken_off += broken_off;
            output.write()?;
        }
        report(total);
        Ok(())
    }
}

/// Says what a reader of the streams would not see.
fn report(Account { left_out, incomplete, failed, broken_off }: Account) {
    joined::report_left_out(incomplete);
    if left_out > 0 {
        message::plain(format_args!(
            "left out {}: no chat.completion.chunk, and no text",
            human::some(left_out, "event")
        ));
    }
    if failed > 0 {
        let streams = human::some(failed, "stream");
        message::plain(format_args!("{streams}: the answer failed; the error is in it, and no reason to finish"));
    }
    if broken_off > 0 {
        let streams = human::some(broken_off, "stream");
        message::plain(format_args!("{streams}: no [DONE] was recorded, and none is written"));
    }
}

impl Output {
    /// Writes what waits. The first time, a file that is there is replaced.
    fn write(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.stream.bytes);
        let Some(path) = &self.path else {
            return Ok(Stdout::default().write_all(&bytes)?);
        };
        if self.is_begun && bytes.is_empty() {
            return Ok(());
        }
        let opened = if self.is_begun { OpenOptions::new().append(true).open(path) } else { File::create(path) };
        self.is_begun = true;
        opened.and_then(|mut file| file.write_all(&bytes)).map_err(|error| Failure::file(path, &error))
    }
}
