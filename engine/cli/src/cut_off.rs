//! Recordings that were cut off: the process that wrote them was killed, or its machine stopped.
//!
//! A log tells that of its last writer alone: one that ends seals its last segment, and the next one seals what a
//! killed one has left. So the next recording notes, in each session that the killed writer may have left unfinished,
//! that later events of it may be lost. A recording that ends before its input does notes it itself.

use std::path::Path;

use serde_json::Value;
use tapeline_reader::{LogFiles, ReplayRequest, SegmentSummary, SessionId, SessionState, SessionSummary, StoredEvent};

/// The payload of the note, an event of kind session.
pub(crate) const NOTE: &str = r#"{"type":"session.cut_off"}"#;

/// Longest time for which an event waits for its segment to be made.
const EARLIER_NS: u64 = 600_000_000_000;

/// Returns whether the payload of an event of kind session is such a note.
pub(crate) fn is_note(payload: &[u8]) -> bool {
    let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
    payload["type"] == "session.cut_off"
}

/// The sessions of a log at rest that its last writer may have left unfinished: those with an event since it began,
/// unless they were closed. None if it came to its end, or if the log cannot be read.
pub(crate) fn sessions(directory: &Path) -> Vec<SessionId> {
    let Ok(log) = LogFiles::open(directory) else { return Vec::new() };
    let (Some(begun), Ok(sessions)) = (begun(&log), log.sessions()) else { return Vec::new() };
    let is_unfinished = |session: &&SessionSummary| {
        session.session != SessionId::NONE && session.state == SessionState::Open && session.last_insertion_ts >= begun
    };
    sessions.iter().filter(is_unfinished).map(|session| session.session).collect()
}

/// The time of the first event of the last writer, if that has not come to its end.
fn begun(log: &LogFiles) -> Option<u64> {
    let open: Vec<_> = log.shards().iter().filter_map(|shard| Some((shard.shard_id, shard.open_from?))).collect();
    let is_first = |segment: &&SegmentSummary| open.contains(&(segment.shard_id, segment.base));
    let created = log.segments().iter().filter(is_first).map(|segment| segment.created).min();
    let is_of_it =
        |event: &StoredEvent| open.iter().any(|(shard, from)| event.shard_id == *shard && event.sequence >= *from);
    let mut request = ReplayRequest::new();
    // A segment is made for events that have come before.
    request.since = Some(created?.saturating_sub(EARLIER_NS));
    log.replay_with(&request).ok()?.flatten().find(is_of_it).map(|event| event.insertion_ts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_is_told_from_what_else_is_said_of_sessions() {
        assert!(is_note(NOTE.as_bytes()) && is_note(br#"{"type":"session.cut_off","more":1}"#));
        for other in [&b""[..], b"{}", br#"{"type":"session.close"}"#, b"session.cut_off", b"\xff"] {
            assert!(!is_note(other), "{other:?}");
        }
    }
}
