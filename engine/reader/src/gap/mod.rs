//! Gaps: holes that readers get reported.

pub mod note;

use std::fmt;

use tapeline_storage::format::{RecordError, RecordView, Sequence, counted, sequences};

use note::DropNote;
pub use note::{DropReason, DroppedSessions, Drops};

use crate::filter::Selection;
use crate::session::ResumeToken;

/// Events of one shard that a reader does not get, `from..to`. Reading goes on after them.
///
/// ```
/// use tapeline_reader::{Gap, GapReason, Sequence};
///
/// let (from, to) = (Sequence::ZERO, Sequence::new(24));
/// let gap = Gap { shard_id: 0, from, to, reason: GapReason::Trimmed, token: None };
/// assert_eq!(gap.to.since(gap.from), 24);
/// assert!(gap.to_string().starts_with("shard 0: sequences 0 to 23 (24 events): "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The shard.
    pub shard_id: u16,
    /// First sequence that is missing.
    pub from: Sequence,
    /// Sequence after the last that is missing.
    pub to: Sequence,
    /// The reason.
    pub reason: GapReason,
    /// The place of a reader of one session that continues after it. Of the gaps that a relay reports.
    pub token: Option<ResumeToken>,
}

/// The reason for which events are missing.
///
/// ```
/// use tapeline_reader::{Gap, GapReason};
///
/// fn report(gap: &Gap) {
///     match &gap.reason {
///         GapReason::Overflow { events, reason, .. } => println!("{events} events were dropped: {reason}"),
///         GapReason::LostInCrash => println!("a crash took {} events", gap.to.since(gap.from)),
///         reason => println!("{reason:?}: {gap}"),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The log does not hold them any more.
    Trimmed,
    /// The log's files do not hold them: a repair found them lost, or they were not among the events of which an import
    /// made the log.
    Lost,
    /// They never reached the log: their lane was full or filling up, and its mode was to drop events, or to report
    /// refusals ([`DropReason::Refused`]). `from..to` is
    /// the sequence of the note that reports it; the missing events have none. They came before the producer's events
    /// that follow here.
    Overflow {
        /// The number of missing events that the reader may have asked for: those of its sessions, and those of
        /// sessions that are not known.
        events: u64,
        /// The reason for which the bus dropped or refused them.
        reason: DropReason,
        /// The producer's number: `Producer::id`.
        producer: u64,
        /// The sessions of these events, as far as they are known.
        sessions: DroppedSessions,
    },
    /// The reader fell behind, and wanted the latest events rather than all of them.
    Dropped,
    /// A block does not check; the words of [`ReadError`](tapeline_storage::read::ReadError) name segment and offset.
    Corrupt(String),
    /// The reader had seen them, or was told to start after them; they were above the durable watermark, and a crash
    /// took them. Events with the same sequences may follow: they are others.
    LostInCrash,
}

impl GapReason {
    /// Returns whether the log is without the events, for every reader that comes.
    #[doc(hidden)]
    pub fn is_of_log(&self) -> bool {
        matches!(self, Self::Trimmed | Self::Lost | Self::Corrupt(_))
    }
}

impl Gap {
    /// The gap that a note of the bus reports, if it is for this reader.
    #[cold]
    #[doc(hidden)]
    pub fn of_note(shard_id: u16, sequence: Sequence, record: &RecordView<'_>, selection: &Selection) -> Option<Self> {
        let DropNote { producer, reason, sessions } = DropNote::read(record)?;
        let sessions = sessions.of(|session| selection.concerns(session));
        let events = sessions.events();
        let reason = GapReason::Overflow { events, reason, producer, sessions };
        let token = match selection.sessions() {
            Some(&[session]) => Some(ResumeToken::new(session, shard_id, sequence, record.timestamp())),
            _ => None,
        };
        (events > 0).then(|| Self { shard_id, from: sequence, to: sequence.plus(1), reason, token })
    }

    /// The gap that stands for a record that does not check.
    #[cold]
    #[doc(hidden)]
    pub fn of_record(shard_id: u16, sequence: Sequence, error: &RecordError) -> Self {
        let reason = GapReason::Corrupt(error.to_string());
        Self { shard_id, from: sequence, to: sequence.plus(1), reason, token: None }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}: {}: {}", self.shard_id, sequences(self.from, self.to), self.reason)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trimmed => f.write_str("the log does not hold them any more"),
            Self::Lost => f.write_str("not in the log: a repair found them lost, or they were not imported"),
            Self::Overflow { events, reason: DropReason::Refused, producer, .. } => {
                let events = counted(*events, "event");
                write!(f, "{events} of producer {producer} refused, its lane was full; it may have ingested them again")
            }
            Self::Overflow { events, reason, producer, .. } => {
                let events = counted(*events, "event");
                write!(f, "{events} of producer {producer} dropped before storage: {reason}")
            }
            Self::Dropped => f.write_str("dropped, because the reader fell behind"),
            Self::Corrupt(what) => write!(f, "unreadable: {what}"),
            Self::LostInCrash => f.write_str("lost in a crash before they were durable"),
        }
    }
}
