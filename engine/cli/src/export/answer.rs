//! The answer under way in a stream: what has come of it, and what that says of its end.

use super::calls::Calls;
use super::lack::Lack;
use crate::choices::Choices;

/// One answer, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The beginning of a character that a token breaks off.
    pub(super) character: Vec<u8>,
    pub(super) calls: Calls,
    /// The id of its last chunk that has one.
    pub(super) id: Option<String>,
    /// Something was sent.
    pub(super) has_begun: bool,
    /// Chunks were made of events.
    pub(super) is_made: bool,
    /// Frames were passed on: only these say how it ends.
    pub(super) is_recorded: bool,
    pub(super) choices: ChoicesOfChunks,
    pub(super) ending: Ending,
}

/// The facts that are known of an answer's end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The last event was not understood, or says that the rest is missing.
    pub(super) is_unsure: bool,
    pub(super) has_failed: bool,
    /// The session was closed as finished after it.
    pub(super) is_closed: bool,
    /// The reason for which it is not known to be whole.
    pub(super) lack: Option<Lack>,
    /// Chunks from the first on that has a reason to finish: they wait for the end of the answer, which may fail.
    pub(super) waiting: Vec<String>,
}

/// The choices of an answer's chunks, and those that a chunk gave a reason to finish.
#[derive(Debug, Default)]
pub(super) struct ChoicesOfChunks {
    pub(super) all: Choices,
    pub(super) finished: Choices,
}

impl Answer {
    /// Returns whether it is over where nothing more of it comes, as far as its events say.
    pub(super) fn is_over(&self) -> bool {
        !self.is_recorded && !self.ending.has_failed && !self.ending.is_unsure
    }
}

impl ChoicesOfChunks {
    /// Returns whether the answer is whole: it is not where one choice breaks off.
    pub(super) fn are_finished(&self) -> bool {
        !self.finished.is_empty() && self.finished.has_all(self.all)
    }
}

/// The way in which an answer is known to have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// `[DONE]` said so.
    Told,
    /// Another begins, or the process that wrote it came to its end.
    Untold,
    /// Nothing follows.
    Unknown,
}
