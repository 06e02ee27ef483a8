//! An event as server-sent events have it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tapeline_reader::sse;
use tapeline_reader::{SessionId, StoredEvent, kinds};

use crate::recorded::{self, Line, Recorded};

/// Writes events as frames.
///
/// Events that `record --format sse` stored are printed as they were recorded, so that a client gets the same events of
/// it; so are those in lines that `record --format jsonl` stored. A frame that was stored in parts is put together
/// again; one that was broken off is left out, as clients drop it. Of other events, one that looks like whole frames
/// stands as it is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The streams in the sessions that were recorded as frames or lines.
    recorded: BTreeMap<SessionId, (Recorded, recorded::Frames)>,
    /// The rest of streams that have ended.
    left: Vec<u8>,
}

impl Frames {
    /// The session goes on with the beginning of what was recorded as this.
    pub(super) fn open(&mut self, session: SessionId, recorded: Recorded) {
        let before = match recorded {
            Recorded::Frames | Recorded::Lines => {
                self.recorded.insert(session, (recorded, recorded::Frames::default()))
            }
            Recorded::Bytes | Recorded::Unknown => self.recorded.remove(&session),
        };
        self.left.extend(before.map(|(_, mut stream)| stream.finish()).unwrap_or_default());
    }

    /// Writes an event.
    pub(super) fn write(&mut self, out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
        out.write_all(&std::mem::take(&mut self.left))?;
        let recorded = self.recorded.get_mut(&event.session).filter(|_| event.kind == kinds::UNSPECIFIED);
        let is_written = match recorded {
            Some((Recorded::Frames, stream)) => {
                stream.push(&event.raw, |frame| write_recorded(out, frame)).map(|()| true)?
            }
            Some((_, stream)) => stream.push_line(&Line::of(&event.raw), |frame| out.write_all(frame))?,
            None if sse::is_frames(&event.raw) => out.write_all(&event.raw).map(|()| true)?,
            None => false,
        };
        if is_written { Ok(()) } else { wrap(out, event) }
    }

    /// Writes what is left of the streams when nothing follows.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&std::mem::take(&mut self.left))?;
        self.recorded.values_mut().try_for_each(|(_, stream)| out.write_all(&stream.finish()))
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
fn wrap(out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
    write!(out, "id: {}-{}\nevent: ", event.shard_id, event.sequence)?;
    match kinds::name(event.kind) {
        Some(name) => out.write_all(name.as_bytes())?,
        None => write!(out, "{}", event.kind)?,
    }
    out.write_all(b"\n")?;
    match str::from_utf8(&event.raw) {
        Ok(text) => lines(text).try_for_each(|line| writeln!(out, "data: {line}"))?,
        Err(_) => write!(out, ": base64\ndata: {}\n", STANDARD.encode(&event.raw[..]))?,
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
