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

    /// Returns whether a line has the data of an event, all of it.
    pub(crate) fn is_whole_event(&self) -> bool {
        let Self::Field(line) = self else { return false };
        let data = sse::sole_frame(line).and_then(|frame| frame.data().map(|data| Words::of(&data) != Words::Unknown));
        data.unwrap_or(false)
    }
}

/// The frames of a stream, as far as they have come.
///
/// Of a stream that was recorded as lines, it is not known at first whether it has kept the blank lines that end its
/// events. Until the second event shows it, the lines after the data of the first one wait.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    stream: sse::Stream,
    blank_lines: BlankLines,
    /// The last line was a field or a comment.
    follows_field: bool,
    /// The last line had all the data of an event.
    follows_event: bool,
    /// The frame that ends next has no beginning.
    skips: bool,
    /// Frames that were left out.
    pub(crate) left_out: u64,
}

/// The events between two that a command meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// They are in the log, and were not selected.
    Unselected,
    /// Some are gone, or it is not known whether there are any.
    Unknown,
}

/// The blank lines of a stream that was recorded as lines.
#[derive(Debug, Default)]
enum BlankLines {
    /// No event has ended.
    #[default]
    Unknown,
    /// The last event has all its data. Here are the lines after that, which belong to it if a blank line follows them.
    Awaited(Vec<u8>),
    /// They end the events.
    Kept,
    /// A line with the data of an event is one.
    Lost,
}

/// Bytes of the lines that wait for a blank line. More of them are taken for the next event's.
const AWAITED_MAX: usize = 64 << 10;

impl Frames {
    /// Adds bytes of the stream, and hands out each frame that is whole now.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn push<E>(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Self { stream, skips, left_out, .. } = self;
        stream.push(bytes, |frame| {
            if std::mem::take(skips) {
                *left_out += 1;
                return Ok(());
            }
            each(frame)
        })
    }

    /// True if no frame has begun that is not whole.
    pub(crate) fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }

    /// True if no line that has come waits for others.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_empty() && !matches!(self.blank_lines, BlankLines::Awaited(_))
    }

    /// Returns whether a line may be a part of a frame here.
    pub(crate) fn takes(&self, line: &Line<'_>) -> bool {
        match line {
            Line::Field(_) => true,
            Line::Other(_) => matches!(self.blank_lines, BlankLines::Kept),
            Line::Blank | Line::Object(_) => false,
        }
    }

    /// Breaks off the frame that is not whole, as [`sse::Stream::break_off`] does.
    pub(crate) fn break_off(&mut self) -> Vec<u8> {
        self.skips = false;
        self.stream.break_off()
    }

    /// The lines that come next are the rest of a frame: they are left out.
    pub(crate) fn skip_rest(&mut self) {
        self.skips = true;
    }

    /// Ends what has come, because the lines that follow it are not here: an event is handed out if the last line had
    /// all its data, and what else waits is left out.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn interrupt<E>(&mut self, between: Between, each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let is_whole = match &self.blank_lines {
            BlankLines::Awaited(lines) => lines.is_empty(),
            _ => self.follows_event,
        };
        if matches!(self.blank_lines, BlankLines::Awaited(_)) {
            let is_known = between == Between::Unselected;
            self.blank_lines = if is_known { BlankLines::Lost } else { BlankLines::Unknown };
        }
        if self.is_empty() {
            self.skips = false;
            return Ok(());
        }
        if is_whole {
            return self.push(b"\n", each);
        }
        self.left_out += 1;
        self.break_off();
        Ok(())
    }

    /// Adds a line likewise. Returns whether it belongs to the stream: an object of JSON stands for itself, and so does
    /// any other line until a blank line has ended an event.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn push_line<E>(
        &mut self,
        line: &Line<'_>,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let follows_field = std::mem::replace(&mut self.follows_field, matches!(line, Line::Field(_)));
        self.follows_event = line.is_whole_event();
        match *line {
            Line::Blank => self.push_blank(follows_field, each)?,
            Line::Field(bytes) => self.push_field(bytes, self.follows_event, each)?,
            Line::Other(bytes) if self.takes(line) => self.push(bytes, each)?,
            Line::Object(_) | Line::Other(_) => {
                self.end_awaited(&mut each)?;
                if self.skips {
                    self.left_out += u64::from(!self.is_empty());
                    self.break_off();
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn push_blank<E>(&mut self, follows_field: bool, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if follows_field && let BlankLines::Awaited(lines) = std::mem::replace(&mut self.blank_lines, BlankLines::Kept)
        {
            self.push(&lines, &mut each)?;
        }
        if self.is_empty() {
            self.skips = false;
            return Ok(());
        }
        self.push(b"\n", each)
    }

    fn push_field<E>(
        &mut self,
        line: &[u8],
        is_event: bool,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.blank_lines {
            BlankLines::Awaited(lines) if !is_event && lines.len() < AWAITED_MAX => {
                lines.extend_from_slice(line);
                return Ok(());
            }
            _ => self.end_awaited(&mut each)?,
        }
        self.push(line, &mut each)?;
        match self.blank_lines {
            _ if !is_event => Ok(()),
            // Nothing follows a line without an end. Programs that put streams together leave the last line end out.
            _ if !line.ends_with(b"\n") => self.push(b"\n\n", each),
            BlankLines::Kept => Ok(()),
            BlankLines::Lost => self.push(b"\n", each),
            BlankLines::Unknown | BlankLines::Awaited(_) => {
                self.blank_lines = BlankLines::Awaited(Vec::new());
                Ok(())
            }
        }
    }

    /// Hands out an event of which the blank line has not come.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn end_awaited<E>(&mut self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if let BlankLines::Awaited(lines) = &mut self.blank_lines {
            let lines = std::mem::take(lines);
            self.blank_lines = BlankLines::Lost;
            self.push(b"\n", &mut each)?;
            self.push(&lines, each)?;
        }
        Ok(())
    }

    /// Ends the stream. Returns that of a frame which is not whole that clients obey all the same.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.skips) {
            self.left_out += u64::from(!self.is_empty());
            self.stream.break_off();
        }
        self.stream.finish()
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
