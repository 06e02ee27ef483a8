//! Events of kind [`kinds::DAEMON`](crate::kinds::DAEMON), the notes of daemons: how far one has come, and which events
//! it set aside. Their payloads are JSON objects, which lie on disk.

use serde_json::{Value, json};
use tapeline_reader::StoredEvent;

use super::shift::Shift;

const SET_ASIDE: &str = "daemon.set_aside";

/// The last event of a group: how far the daemon had come, and its state then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) cursor: String,
    pub(super) state: Option<Vec<u8>>,
    /// Of a worker: its sessions.
    pub(super) shift: Option<Shift>,
}

impl Checkpoint {
    /// The `type` of its note.
    pub(super) const TYPE: &'static str = "daemon.checkpoint";

    /// Bytes of its payload, about.
    pub(super) fn bytes(&self) -> usize {
        let shift = self.shift.as_ref().map_or(0, Shift::bytes);
        self.cursor.len() + 2 * self.state.as_ref().map_or(0, Vec::len) + shift + 64
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let mut note = json!({ "type": Self::TYPE, "cursor": self.cursor });
        if let Some(state) = &self.state {
            note["state"] = Value::String(to_hex(state));
        }
        if let Some(shift) = &self.shift {
            note["shift"] = shift.to_json();
        }
        note.to_string().into_bytes()
    }

    /// `None`: the payload is that of another note.
    ///
    /// # Errors
    /// The fault, of a checkpoint.
    pub(super) fn parse(payload: &[u8]) -> Result<Option<Self>, String> {
        let note: Value = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        if note["type"] != Self::TYPE {
            return Ok(None);
        }
        let cursor = note["cursor"].as_str().ok_or("it has no cursor")?.to_owned();
        let state = note.get("state").map(|state| state.as_str().and_then(from_hex).ok_or("its state is no hex"));
        let shift = note.get("shift").map(|shift| Shift::from_json(shift).ok_or("its shift is none"));
        Ok(Some(Self { cursor, state: state.transpose()?, shift: shift.transpose()? }))
    }
}

/// An event that a daemon could not process, as the note says that names it.
///
/// ```
/// use tapeline::daemon::SetAside;
///
/// let note = br#"{"type":"daemon.set_aside","event":"...","tries":3,"error":"no JSON"}"#;
/// assert_eq!(SetAside::parse(note).expect("a note").error, "no JSON");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// The id of the event.
    pub event: String,
    /// Calls of `process` that failed.
    pub tries: u32,
    /// The last error, or the message of the last panic.
    pub error: String,
}

impl SetAside {
    pub(super) fn new(event: &StoredEvent, tries: u32, error: String) -> Self {
        Self { event: event.id.to_string(), tries, error }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let Self { event, tries, error } = self;
        json!({ "type": SET_ASIDE, "event": event, "tries": tries, "error": error }).to_string().into_bytes()
    }

    /// Reads the payload of an event of kind [`kinds::DAEMON`](crate::kinds::DAEMON). `None`: it says something else.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let note: Value = serde_json::from_slice(payload).ok()?;
        let text = |name: &str| note[name].as_str().map(str::to_owned);
        let tries = note["tries"].as_u64().and_then(|tries| tries.try_into().ok());
        (note["type"] == SET_ASIDE).then_some(())?;
        Some(Self { event: text("event")?, tries: tries?, error: text("error")? })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_read_back() {
        for state in [None, Some(Vec::new()), Some((0..=255).collect())] {
            for shift in [None, Some(Shift::default())] {
                let checkpoint = Checkpoint { cursor: "c\"1".into(), state: state.clone(), shift };
                assert_eq!(Checkpoint::parse(&checkpoint.payload()), Ok(Some(checkpoint)));
            }
        }
        assert_eq!(Checkpoint::parse(br#"{"type":"daemon.set_aside"}"#), Ok(None));
        for damaged in [
            "",
            "{",
            r#"{"type":"daemon.checkpoint"}"#,
            r#"{"type":"daemon.checkpoint","cursor":"c","state":"0"}"#,
            r#"{"type":"daemon.checkpoint","cursor":"c","shift":{"taken":["x"]}}"#,
        ] {
            assert!(Checkpoint::parse(damaged.as_bytes()).is_err(), "{damaged}");
        }
    }
}
