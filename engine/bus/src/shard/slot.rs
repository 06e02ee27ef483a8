//! A lane on its shard's side, and which of its events are acknowledged.

use std::collections::VecDeque;

use tapeline_reader::note::{DropNote, DroppedSessions};
use tapeline_reader::{DropReason, Drops};
use tapeline_storage::format::{BLOCK_BYTES_MAX, RECORD_ALIGN, Sequence, timestamp_of};
use tapeline_storage::log::Log;

use super::ShardControl;
use super::merge::{Bound, HasLane};
use crate::lane::{LaneHandle, LaneReader, RecordRun};

/// "When the log is durable up to `end`, the lane is acknowledged up to `entry`."
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// First sequence of the block that was open: one mark for each block is enough.
    block: Sequence,
    end: Sequence,
    entry: u64,
}

#[derive(Debug)]
pub(super) struct LaneSlot {
    reader: LaneReader,
    /// Records were taken in this turn.
    takes: bool,
    is_released: bool,
    marks: VecDeque<Mark>,
    /// Drops that notes of the shard have reported.
    reported: Drops,
    /// Sessions of dropped events by reason, for which no note found room yet.
    unwritten: [DroppedSessions; DropReason::COUNT],
}

/// The next record is of a large event.
#[derive(Debug, Clone, Copy)]
struct AtLarge {
    timestamp: u64,
}

/// Copies as many records into the log as come before a large event, and for which it has memory. Returns how many, and
/// their bytes.
#[inline]
fn append(run: RecordRun<'_>, log: &mut Log, now: u64) -> Result<(usize, usize), AtLarge> {
    if !run.has_large() {
        return Ok(log.append(run.records, run.lengths, now));
    }
    let small = run.before_large();
    match run.lengths.first() {
        Some(&units) if small.lengths.is_empty() => {
            Err(AtLarge { timestamp: timestamp_of(&run.records[..usize::from(units) * RECORD_ALIGN]) })
        }
        _ => Ok(log.append(small.records, small.lengths, now)),
    }
}

impl LaneSlot {
    /// The lane of a shard that takes the records of this route.
    pub(super) fn new(mut reader: LaneReader, route: u64) -> Self {
        reader.pass_to(route);
        let (marks, reported, unwritten) = (VecDeque::new(), Drops::default(), Default::default());
        Self { reader, takes: false, is_released: true, marks, reported, unwritten }
    }

    /// Copies up to about `budget` bytes of what is known of a lane that is alone into the log. Returns how many
    /// records.
    ///
    /// Events that are published meanwhile are left for the next turn: to chase a producer that writes would stop it,
    /// because each look takes away the cache lines that it is writing to.
    pub(super) fn drain(&mut self, control: &ShardControl, log: &mut Log, now: u64, budget: usize) -> usize {
        let (mut left, mut drained) = (budget, 0);
        while left > 0 && self.reader.knows_more() {
            drained += self.report_evicted(control, log, now);
            let (entries, bytes) = if self.reader.is_at_group() {
                self.take_group(log, now)
            } else {
                let run = self.reader.peek(budget);
                let taken = match append(run, log, now) {
                    Ok(taken) => taken,
                    Err(AtLarge { timestamp }) => self.append_large(timestamp, log, now),
                };
                self.consume(taken.0);
                taken
            };
            if entries == 0 {
                break;
            }
            drained += entries;
            left = left.saturating_sub(bytes);
        }
        drained
    }

    /// Copies the records within `bound` that lie back to back into the log. Returns how many, and their bytes.
    pub(super) fn take(&mut self, bound: Bound, control: &ShardControl, log: &mut Log, now: u64) -> (usize, usize) {
        if self.reader.is_at_group() {
            return self.take_group(log, now);
        }
        self.report_evicted(control, log, now);
        let run = bound.peek(&mut self.reader, BLOCK_BYTES_MAX);
        let taken = match append(run, log, now) {
            Ok(taken) => taken,
            Err(AtLarge { timestamp }) => self.append_large(timestamp, log, now),
        };
        self.consume(taken.0);
        taken
    }

    /// Copies the group that comes next into the log, all of it or nothing. Returns how many records, and their bytes.
    #[cold]
    fn take_group(&mut self, log: &mut Log, now: u64) -> (usize, usize) {
        let Some(group) = self.reader.copy_group() else { return (0, 0) };
        if !log.append_as_one(&group.records, &group.lengths, now) {
            return (0, 0);
        }
        self.reader.consume_group(&group);
        self.takes = true;
        (group.lengths.len(), group.records.len())
    }

    /// Hands the large event that is next over to the log. Returns whether it did, as a number of records, and bytes.
    #[cold]
    fn append_large(&mut self, timestamp: u64, log: &mut Log, now: u64) -> (usize, usize) {
        let Some(block) = self.reader.take_large() else { return (0, 0) };
        let bytes = block.record_bytes();
        match log.append_large(block, timestamp, now) {
            Ok(()) => (1, bytes),
            Err(block) => {
                self.reader.put_large_back(block);
                (0, 0)
            }
        }
    }

    fn consume(&mut self, entries: usize) {
        self.reader.consume(entries);
        self.takes = self.takes || entries > 0;
    }

    /// The end of a turn: gives the memory of what was taken back to the producer.
    pub(super) fn end_turn(&mut self, log: &Log) {
        if self.takes || self.reader.is_evicting() {
            self.reader.free();
        }
        if std::mem::take(&mut self.takes) {
            self.is_released = false;
            self.mark(log);
        }
    }

    /// Writes notes of the events that the producer dropped before those that it has left. Returns the number of notes.
    fn report_evicted(&mut self, control: &ShardControl, log: &mut Log, now: u64) -> usize {
        if self.reader.is_evicting() {
            self.report(control, log, now, self.reader.drops().since(self.reported))
        } else {
            0
        }
    }

    /// The producer is gone or its lane closed: writes notes of the drops that the producer could not report itself.
    /// Returns the number of notes.
    pub(super) fn report_the_rest(&mut self, control: &ShardControl, log: &mut Log, now: u64) -> usize {
        let written = self.report(control, log, now, self.unreported());
        let refused = self.missing(DropReason::Refused, 0);
        match refused.events() {
            0 => written,
            _ => written + usize::from(self.write(self.note(DropReason::Refused, refused), control, log, now)),
        }
    }

    /// Drops that no note has reported. Exact once the producer is gone or its lane closed.
    pub(super) fn unreported(&self) -> Drops {
        if self.reader.is_evicting() {
            return self.reader.drops().since(self.reported);
        }
        // The mode of such a lane has one reason only.
        let events = self.reader.unreported().saturating_sub(self.reported.total());
        match self.reader.drops().sampled {
            0 => Drops::of([events, 0, 0]),
            _ => Drops::of([0, 0, events]),
        }
    }

    /// Writes a note for each reason that has drops. Returns how many found room.
    fn report(&mut self, control: &ShardControl, log: &mut Log, now: u64, drops: Drops) -> usize {
        let mut written = 0;
        for (reason, events) in drops.reasons() {
            let sessions = self.missing(reason, events);
            if !self.write(self.note(reason, sessions), control, log, now) {
                break;
            }
            written += 1;
        }
        written
    }

    /// The sessions of events that are missing for this reason: at least so many events.
    fn missing(&mut self, reason: DropReason, events: u64) -> DroppedSessions {
        let mut sessions = std::mem::take(&mut self.unwritten[reason.index()]);
        sessions.absorb(self.reader.take_dropped(reason));
        match events.saturating_sub(sessions.events()) {
            0 => sessions,
            // The producer is there still, and alone knows the sessions.
            unknown => {
                sessions.absorb(DroppedSessions::unknown(unknown));
                sessions
            }
        }
    }

    fn note(&self, reason: DropReason, sessions: DroppedSessions) -> DropNote {
        DropNote { producer: self.reader.handle().producer(), reason, sessions }
    }

    /// Writes a note. Returns whether it found room; else the sessions wait for the next.
    fn write(&mut self, note: DropNote, control: &ShardControl, log: &mut Log, now: u64) -> bool {
        let record = note.record(now);
        // A note is far shorter than what a length can say.
        let length = (record.bytes().len() / RECORD_ALIGN) as u16;
        if log.append(record.bytes(), &[length], now).0 == 0 {
            self.unwritten[note.reason.index()] = note.sessions;
            return false;
        }
        self.reported.count(note.reason, note.sessions.events());
        control.facts().count_note();
        true
    }

    fn mark(&mut self, log: &Log) {
        let mark = Mark { block: log.open_sequence(), end: log.next_sequence(), entry: self.reader.position() };
        match self.marks.back_mut() {
            Some(last) if last.block == mark.block => *last = mark,
            _ => self.marks.push_back(mark),
        }
    }

    /// Returns whether the shard has taken all records of earlier routes than this one, and no more of them can come.
    pub(super) fn has_passed_to(&self, route: u64) -> bool {
        self.reader.has_passed_to(route)
    }

    /// Goes on with the records of this route.
    pub(super) fn pass_to(&mut self, route: u64) {
        self.reader.pass_to(route);
    }

    /// Gives the room of what was drained back to the producer.
    pub(super) fn release(&mut self) {
        if !self.is_released {
            self.reader.release();
            self.is_released = true;
        }
    }

    pub(super) fn acknowledge(&mut self, durable: Sequence) {
        let mut entry = None;
        while self.marks.front().is_some_and(|mark| mark.end <= durable)
            && let Some(mark) = self.marks.pop_front()
        {
            entry = Some(mark.entry);
        }
        if let Some(entry) = entry {
            self.reader.acknowledge(entry);
        }
    }

    pub(super) fn close(&self) {
        self.reader.close();
    }

    pub(super) fn handle(&self) -> LaneHandle {
        self.reader.handle()
    }

    pub(super) fn has_pending(&self) -> bool {
        self.reader.has_pending()
    }

    /// The producer is gone, and all it published is taken.
    pub(super) fn is_drained(&self) -> bool {
        self.reader.is_drained()
    }

    /// The producer is gone, and all it published is acknowledged.
    pub(super) fn is_served(&self) -> bool {
        self.reader.is_drained() && self.marks.is_empty()
    }
}

impl HasLane for LaneSlot {
    fn lane(&mut self) -> &mut LaneReader {
        &mut self.reader
    }
}
