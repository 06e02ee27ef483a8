//! The form in which `record` has cut a session's stream, and what that says of its events.

use tapeline_reader::{SessionOpening, sse};

use crate::words::Words;

/// The form, as the opening of the session says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Recorded {
    /// A producer of events wrote them, not `record`; or it is not known.
    #[default]
    Unknown,
    /// Frames of server-sent events.
    Frames,
    /// Lines, of JSON or of anything else.
    Lines,
    /// Bytes, cut wherever.
    Bytes,
}

impl Recorded {
    /// That of a session.
    pub(crate) fn of(opening: &SessionOpening) -> Self {
        let all = [Self::Frames, Self::Lines, Self::Bytes];
        all.into_iter().find(|form| opening.format.as_deref() == form.name()).unwrap_or_default()
    }

    /// As the opening has it.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Frames => Some("sse"),
            Self::Lines => Some("jsonl"),
            Self::Bytes => Some("raw"),
        }
    }
}

/// A line of a session that was recorded as lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// It says nothing.
    Blank,
    /// It begins as an object of JSON does.
    Object(&'a [u8]),
    /// It is one of a stream of server-sent events: a field or a comment.
    Field(&'a [u8]),
    /// It is something else.
    Other(&'a [u8]),
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl<'a> Line<'a> {
    /// The line in a payload, without a byte order mark, which files begin with that were put together.
    pub(crate) fn of(payload: &'a [u8]) -> Self {
        let line = payload.strip_prefix(BOM).unwrap_or(payload);
        match line.trim_ascii_start() {
            [] => Self::Blank,
            object @ [b'{', ..] => Self::Object(object),
            _ if sse::sole_frame(line).is_some() || sse::is_frames(line) => Self::Field(line),
            _ => Self::Other(line),
        }
    }

    /// Adds the line to the frames that are recorded as lines, and hands out each that is whole now.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn push<E>(
        &self,
        frames: &mut sse::Stream,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let end: &[u8] = match self {
            Self::Blank if !frames.is_empty() => b"\n",
            Self::Field(line) if self.is_whole_event() && line.ends_with(b"\n") => b"\n",
            Self::Field(_) if self.is_whole_event() => b"\n\n",
            _ => b"",
        };
        if let Self::Field(line) = self {
            frames.push(line, &mut each)?;
        }
        frames.push(end, each)
    }

    /// Returns whether a line has the data of an event, all of it: not every stream that is recorded as lines has
    /// kept the blank lines that end its events.
    pub(crate) fn is_whole_event(&self) -> bool {
        let Self::Field(line) = self else { return false };
        let data = sse::sole_frame(line).and_then(|frame| frame.data().map(|data| Words::of(&data) != Words::Unknown));
        data.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_by_their_beginning() {
        for blank in ["", "\n", " \r\n", "\u{feff}\n"] {
            assert_eq!(Line::of(blank.as_bytes()), Line::Blank, "{blank:?}");
        }
        for object in ["{\"a\":1}\n", "\u{feff}{\n", " {\n"] {
            assert!(matches!(Line::of(object.as_bytes()), Line::Object([b'{', ..])), "{object:?}");
        }
        for (field, is_event) in [
            ("data: {}\n", true),
            ("\u{feff}data: [DONE]\r\n", true),
            ("data: {\n", false),
            ("data\n", false),
            ("event: error\n", false),
            (": wait\n", false),
            ("data: a\r\rdata: b\r\r", false),
        ] {
            let line = Line::of(field.as_bytes());
            assert!(matches!(line, Line::Field(_)), "{field:?}");
            assert_eq!(line.is_whole_event(), is_event, "{field:?}");
        }
        for other in ["Traceback:\n", "[1]\n", "\"a\"\n", "datum: x\n", "e\n"] {
            assert!(matches!(Line::of(other.as_bytes()), Line::Other(_)), "{other:?}");
        }
    }
}
