//! An account of what the streams lack: events that were left out, and answers that end badly.

use super::lack::Lack;
use crate::exit::Exit;
use crate::human;
use crate::joined;
use crate::message;

/// An account of a stream, or of several, beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    /// Frames and payloads that are no chunks, and were left out.
    pub(super) left_out: u64,
    /// Frames and lines of which a part is not there.
    pub(super) torn: u64,
    /// Answers that failed.
    pub(super) failed: u64,
    /// Answers without `[DONE]` or an error at their end.
    pub(super) broken_off: u64,
    /// Answers that are not known to be whole, by what they lack. Each ends with an error.
    pub(super) incomplete: [(Lack, u64); Lack::ALL.len()],
}

impl Default for Account {
    fn default() -> Self {
        Self { left_out: 0, torn: 0, failed: 0, broken_off: 0, incomplete: Lack::ALL.map(|lack| (lack, 0)) }
    }
}

impl Account {
    /// Adds that of another stream.
    pub(super) fn add(&mut self, other: &Self) {
        self.left_out += other.left_out;
        self.torn += other.torn;
        self.failed += other.failed;
        self.broken_off += other.broken_off;
        self.incomplete.iter_mut().zip(other.incomplete).for_each(|((_, all), (_, answers))| *all += answers);
    }

    /// Counts an answer that is not known to be whole.
    pub(super) fn count(&mut self, lack: Lack) {
        self.incomplete.iter_mut().filter(|(each, _)| *each == lack).for_each(|(_, answers)| *answers += 1);
    }

    /// The status of the export.
    pub(super) fn exit(&self) -> Exit {
        if self.incomplete.iter().all(|(_, answers)| *answers == 0) { Exit::Done } else { Exit::Loss }
    }

    /// Says what a reader of the streams would not see.
    pub(super) fn report(&self) {
        let Self { left_out, torn, failed, broken_off, incomplete } = self;
        joined::report_left_out(*torn);
        if *left_out > 0 {
            message::plain(format_args!(
                "left out {}: no chat.completion.chunk, and no text of the model",
                human::some(*left_out, "event")
            ));
        }
        if *failed > 0 {
            let streams = human::some(*failed, "stream");
            message::plain(format_args!("{streams}: the answer failed; the error is in it, and no reason to finish"));
        }
        if *broken_off > 0 {
            let streams = human::some(*broken_off, "stream");
            message::plain(format_args!("{streams}: no [DONE] was recorded, and none is written"));
        }
        for (lack, answers) in incomplete.iter().filter(|(_, answers)| *answers > 0) {
            let (answers, words) = (human::some(*answers, "answer"), lack.words());
            message::error(format_args!("{answers} not known to be whole, with an error at the end: {words}"));
        }
    }
}
