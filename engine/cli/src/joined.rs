//! The frames and lines of a session that `record` has cut, joined from its events.
//!
//! An event is a frame or a line, or the first part of one; events of kind `part` go on with it. A frame that was
//! recorded as lines has an event for each. Not every event of a session is there: a selection begins and ends
//! anywhere, and a log is trimmed or damaged. What lacks its beginning, or a part, is left out and counted.

use serde::de::IgnoredAny;
use tapeline_reader::{Sequence, StoredEvent, kinds};

use crate::human;
use crate::message;
use crate::past::Past;
use crate::recorded::{Between, Frames, Line, Recorded};

/// Shortest first part of a line: half of the smallest segment, without a character that was kept whole.
const PART_BYTES_MIN: usize = (1 << 20) - 3;

/// Bytes of a line that are kept while the rest of it has not come. A longer line is left out.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Lines that are read backwards in search of the beginning of a frame.
const LINES_MAX: usize = 64;

/// A thing that a session consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'a> {
    /// A frame.
    Frame(&'a [u8]),
    /// A line that belongs to none, as it stood, and the event that it begins with.
    Line(&'a StoredEvent, &'a [u8]),
}

/// A line without its end.
#[derive(Debug)]
struct Begun {
    event: StoredEvent,
    bytes: Vec<u8>,
}

/// A session, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    recorded: Recorded,
    frames: Frames,
    /// The first parts of a line.
    line: Option<Begun>,
    /// The place after the last event.
    next: Option<(u16, Sequence)>,
    /// The parts that come belong to something that is left out.
    is_without: bool,
}

impl Joined {
    /// A session that was recorded so. Any but [`Recorded::Lines`] is a stream of frames.
    pub(crate) fn new(recorded: Recorded) -> Self {
        Self { recorded, ..Self::default() }
    }

    /// The frames and lines that were left out since the last call.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.frames.left_out)
    }

    /// The session is opened at this event: what comes next begins a stream.
    pub(crate) fn opened_at(&mut self, event: &StoredEvent) {
        self.next = Some(after(event));
    }

    /// Takes the next event, and hands out what is whole now.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn take<E>(
        &mut self,
        event: &StoredEvent,
        past: &mut Past,
        mut each: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let follows = self.next == Some((event.shard_id, event.sequence));
        if event.kind == kinds::PART {
            self.next = Some(after(event));
            if follows && !self.is_without {
                return self.add(&event.raw, each);
            }
            self.miss();
            return Ok(());
        }
        if follows {
            self.end_line(&mut each)?;
        } else {
            self.drop_line();
        }
        self.is_without = false;
        if self.recorded == Recorded::Lines {
            self.resume(event, past, &mut each)?;
            self.next = Some(after(event));
            return self.take_line(event, each);
        }
        self.next = Some(after(event));
        if !self.frames.is_empty() {
            // The stream broke off there, or the rest of the frame is not here.
            self.frames.left_out += u64::from(!follows);
            let rest = self.frames.break_off();
            if rest.is_empty() { Ok(()) } else { each(Item::Frame(&rest)) }?;
        }
        self.frames.push(&event.raw, |frame| each(Item::Frame(frame)))
    }

    fn add<E>(&mut self, part: &[u8], each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.recorded == Recorded::Lines { self.add_to_line(part, each) } else { self.add_to_frame(part, each) }
    }

    /// A part has come whose frame or line is not whole.
    fn miss(&mut self) {
        if !std::mem::replace(&mut self.is_without, true) {
            self.frames.left_out += 1;
        }
        self.frames.break_off();
        self.line = None;
    }

    fn add_to_frame<E>(&mut self, part: &[u8], mut each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut is_there = false;
        self.frames.push(part, |frame| {
            is_there = true;
            each(Item::Frame(frame))
        })?;
        // One that was too long to be kept has ended.
        self.frames.left_out += u64::from(!is_there && self.frames.is_empty());
        Ok(())
    }

    fn add_to_line<E>(&mut self, part: &[u8], each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some(line) = self.line.as_mut().filter(|line| line.bytes.len() + part.len() <= LINE_BYTES_MAX) else {
            self.miss();
            return Ok(());
        };
        line.bytes.extend_from_slice(part);
        if part.ends_with(b"\n") { self.end_line(each) } else { Ok(()) }
    }

    fn take_line<E>(&mut self, event: &StoredEvent, each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        if event.raw.len() >= PART_BYTES_MIN && !event.raw.ends_with(b"\n") {
            self.line = Some(Begun { event: event.clone(), bytes: event.raw.to_vec() });
            return Ok(());
        }
        self.push_line(event, &event.raw, each)
    }

    fn push_line<E>(
        &mut self,
        event: &StoredEvent,
        line: &[u8],
        mut each: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.frames.push_line(&Line::of(line), |frame| each(Item::Frame(frame)))? {
            return Ok(());
        }
        each(Item::Line(event, line))
    }

    /// Hands out the line that has begun: nothing more of it comes.
    fn end_line<E>(&mut self, each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        match self.line.take() {
            Some(Begun { event, bytes }) => self.push_line(&event, &bytes, each),
            None => Ok(()),
        }
    }

    /// The rest of the line that has begun is not there.
    fn drop_line(&mut self) {
        self.frames.left_out += u64::from(self.line.take().is_some());
    }

    /// Goes on at a line that does not stand after the last one: at the beginning of a frame or within one.
    fn resume<E>(
        &mut self,
        event: &StoredEvent,
        past: &mut Past,
        mut each: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.next == Some((event.shard_id, event.sequence)) {
            return Ok(());
        }
        let is_field = self.frames.takes(&Line::of(&event.raw));
        if !is_field && self.frames.is_quiet() {
            return Ok(());
        }
        let before = past.before(event);
        if before.as_ref().is_some_and(|before| Some(after(before)) == self.next) {
            return Ok(());
        }
        let between = if before.is_some() { Between::Unselected } else { Between::Unknown };
        self.frames.interrupt(between, |frame| each(Item::Frame(frame)))?;
        if is_field && !begins_frame(before, past) {
            self.frames.skip_rest();
        }
        Ok(())
    }

    /// Hands out what is whole if nothing follows.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn end<E>(&mut self, mut each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        let is_whole = |line: &Begun| serde_json::from_slice::<IgnoredAny>(&line.bytes).is_ok();
        if self.line.as_ref().is_some_and(is_whole) {
            self.end_line(&mut each)?;
        } else {
            self.drop_line();
        }
        self.frames.end_awaited(|frame| each(Item::Frame(frame)))
    }

    /// Ends the session: as [`Joined::end`], and with what clients obey of a frame that is not whole.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn finish<E>(&mut self, mut each: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        self.end(&mut each)?;
        let rest = self.frames.finish();
        if rest.is_empty() { Ok(()) } else { each(Item::Frame(&rest)) }
    }
}

/// The place after an event.
fn after(event: &StoredEvent) -> (u16, Sequence) {
    (event.shard_id, event.sequence.plus(1))
}

/// Returns whether a frame begins after this line of a session. If it is gone, that is not known.
fn begins_frame(before: Option<StoredEvent>, past: &mut Past) -> bool {
    let Some(first) = before else { return false };
    let ends_event = Line::of(&first.raw).is_whole_event();
    let mut at = Some(first);
    for lines in 0..LINES_MAX {
        let Some(event) = at else { return false };
        match Line::of(&event.raw) {
            // A blank line ends frames here, so that none ends without.
            Line::Blank if event.kind == kinds::UNSPECIFIED => return lines == 0,
            Line::Field(_) | Line::Other(_) if event.kind == kinds::UNSPECIFIED => at = past.before(&event),
            _ => return lines == 0 || ends_event,
        }
    }
    // No blank line is there: each line with the data of an event is one.
    ends_event
}

/// Says what was left out.
pub(crate) fn report_left_out(count: u64) {
    if count > 0 {
        let events = human::some(count, "event");
        message::plain(format_args!("left out {events} of which a part is not selected, or not in the log"));
    }
}
