//! The reason for which an answer is not known to be whole.

/// The thing that an answer lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Its session began before the first event that the log has, or that is selected.
    Beginning,
    /// Events are missing that may be of it.
    Middle,
    /// The selection leaves events of its session out.
    Selected,
    /// Nothing says that it came to its end.
    End,
}

impl Lack {
    pub(super) const ALL: [Self; 4] = [Self::Beginning, Self::Middle, Self::Selected, Self::End];

    /// The words for clients and operators, as what follows "the answer is not known to be whole: ".
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Beginning => "its beginning is not there",
            Self::Middle => "events are missing",
            Self::Selected => "the selection leaves events of its session out",
            Self::End => "its session was not closed as finished, and its recording goes on or was cut off",
        }
    }
}
