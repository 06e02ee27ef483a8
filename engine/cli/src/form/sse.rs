//! An event as server-sent events have it.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tapeline::{StoredEvent, kinds};

/// Writes the event as a frame: its shard and sequence as `id`, its kind as `event`, each line of its payload as `data`.
///
/// A payload that is a frame already, as `record --format sse` stores them, stands as it is. One that is no UTF-8 is encoded
/// in base64, behind a comment that says so.
pub(super) fn write(out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
    let text = str::from_utf8(&event.raw).ok();
    if text.is_some_and(is_frame) {
        return out.write_all(&event.raw);
    }
    write!(out, "id: {}-{}\nevent: ", event.shard_id, event.sequence)?;
    match kinds::name(event.kind) {
        Some(name) => out.write_all(name.as_bytes())?,
        None => write!(out, "{}", event.kind)?,
    }
    out.write_all(b"\n")?;
    match text {
        Some(text) => lines(text).try_for_each(|line| writeln!(out, "data: {line}"))?,
        None => write!(out, ": base64\ndata: {}\n", STANDARD.encode(&event.raw[..]))?,
    }
    out.write_all(b"\n")
}

/// Whether the text is whole frames: lines of known fields or comments, the last one blank.
fn is_frame(text: &str) -> bool {
    let is_known = |line: &str| {
        let field = line.split(':').next().unwrap_or_default();
        line.starts_with(':') || (line.contains(':') && ["data", "event", "id", "retry"].contains(&field))
    };
    let lines: Vec<_> = lines(text).collect();
    // Behind the last line end there is nothing, and before it a blank line.
    matches!(lines[..], [.., "", ""])
        && lines.iter().any(|line| !line.is_empty())
        && lines.iter().all(|line| line.is_empty() || is_known(line))
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

    #[test]
    fn recorded_frames_are_known() {
        for frame in ["data: x\n\n", "event: a\r\ndata: x\r\n\r\n", ": ping\n\n", "data:\n\n", "data: a\n\ndata: b\n\n"]
        {
            assert!(is_frame(frame), "{frame:?}");
        }
        for other in ["", "\n\n", "data: x\n", "data: x", "hello: x\n\n", "data\n\n", "text\ndata: x\n\n"] {
            assert!(!is_frame(other), "{other:?}");
        }
    }
}
