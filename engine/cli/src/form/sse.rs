//! An event as server-sent events have it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tapeline_reader::sse;
use tapeline_reader::{SessionId, StoredEvent, kinds};

use crate::joined::{self, Item, Joined};
use crate::past::Past;
use crate::recorded::Recorded;

/// Writes events as frames.
///
/// Events that `record --format sse` stored are printed as they were recorded, so that a client gets the same events of
/// it; so are those in lines that `record --format jsonl` stored. A frame that was stored in parts is put together
/// again; one that was broken off is left out, as clients drop it, and so is one of which a part is not there. Of other
/// events, one that looks like whole frames stands as it is.
#[derive(Debug)]
pub(super) struct Frames {
    /// The sessions that were recorded as frames or lines.
    recorded: BTreeMap<SessionId, Joined>,
    past: Past,
    /// The rest of streams that have ended.
    left: Vec<u8>,
    left_out: u64,
}

impl Frames {
    /// Those of a log in this directory.
    pub(super) fn of(log: &Path) -> Self {
        Self { recorded: BTreeMap::new(), past: Past::of(log), left: Vec::new(), left_out: 0 }
    }

    /// The session goes on with the beginning of what was recorded as this: at an event, or before those that come.
    pub(super) fn open(&mut self, session: SessionId, recorded: Recorded, at: Option<&StoredEvent>) {
        let before = match recorded {
            Recorded::Frames | Recorded::Lines => {
                let mut joined = Joined::new(recorded);
                at.into_iter().for_each(|event| joined.opened_at(event));
                self.recorded.insert(session, joined)
            }
            Recorded::Bytes | Recorded::Unknown => self.recorded.remove(&session),
        };
        let Self { left, left_out, .. } = self;
        if let Some(mut joined) = before {
            // Memory takes everything.
            let _ = joined.finish(|item| write(left, item));
            *left_out += joined.take_left_out();
        }
    }

    /// Writes an event.
    pub(super) fn write(&mut self, out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
        out.write_all(&std::mem::take(&mut self.left))?;
        let is_recorded = matches!(event.kind, kinds::UNSPECIFIED | kinds::PART);
        match self.recorded.get_mut(&event.session).filter(|_| is_recorded) {
            Some(joined) => joined.take(event, &mut self.past, |item| write(out, item)),
            None if sse::is_frames(&event.raw) => out.write_all(&event.raw),
            None => wrap(out, event, &event.raw),
        }
    }

    /// Writes what is left of the streams when nothing follows, and says what was left out.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&std::mem::take(&mut self.left))?;
        for joined in self.recorded.values_mut() {
            joined.finish(|item| write(out, item))?;
            self.left_out += joined.take_left_out();
        }
        joined::report_left_out(std::mem::take(&mut self.left_out));
        Ok(())
    }
}

fn write(out: &mut impl Write, item: Item<'_>) -> io::Result<()> {
    match item {
        Item::Frame(frame) => write_recorded(out, frame),
        Item::Line(event, line) => wrap(out, event, line),
    }
}

/// Writes a frame as it was recorded. A byte order mark at its beginning is a part of its first field's name: after a
/// comment no client takes it for the mark of the stream.
fn write_recorded(out: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    if frame.starts_with("\u{feff}".as_bytes()) {
        out.write_all(b":\n")?;
    }
    out.write_all(frame)
}

/// Writes the event as a frame: its shard and sequence as `id`, its kind as `event`, each line of its payload as
/// `data`. A payload that is no UTF-8 is encoded in base64, after a comment that says so.
fn wrap(out: &mut impl Write, event: &StoredEvent, payload: &[u8]) -> io::Result<()> {
    write!(out, "id: {}-{}\nevent: ", event.shard_id, event.sequence)?;
    match kinds::name(event.kind) {
        Some(name) => out.write_all(name.as_bytes())?,
        None => write!(out, "{}", event.kind)?,
    }
    out.write_all(b"\n")?;
    match str::from_utf8(payload) {
        Ok(text) => lines(text).try_for_each(|line| writeln!(out, "data: {line}"))?,
        Err(_) => write!(out, ": base64\ndata: {}\n", STANDARD.encode(payload))?,
    }
    out.write_all(b"\n")
}

/// Lines as server-sent events end them: by `\n`, `\r\n` or `\r`. What follows the last line end is a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let ending = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + ending..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_the_standard_has_it() {
        assert_eq!(lines("a\nb\r\nc\rd").collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(lines("a\n\n").collect::<Vec<_>>(), ["a", "", ""]);
        assert_eq!(lines("").collect::<Vec<_>>(), [""]);
    }
}
