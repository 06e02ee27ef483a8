//! The sessions of a worker, as its checkpoints name them. They are JSON objects, which lie on disk.

use serde_json::{Value, json};
use tapeline_storage::format::SessionId;

/// The part of a worker's checkpoint that is about sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shift {
    /// True of the first since the daemon was started: the sessions that it had before are its own no more.
    pub(super) begins: bool,
    /// The sessions that it has taken since the one before.
    pub(super) taken: Vec<SessionId>,
    /// The sessions that it has no more.
    pub(super) left: Vec<Left>,
    /// The session that it has taken over and not caught up with.
    pub(super) reading: Option<Reading>,
}

/// A session that a worker has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) session: SessionId,
    /// The time at which it was closed. `None`: it goes on with another worker.
    pub(super) closed_at: Option<u64>,
}

/// A session of which a worker reads what the one before it has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) session: SessionId,
    /// The cursor after what it has processed.
    pub(super) cursor: String,
}

impl Shift {
    /// The cursor after what was processed of a session, by the checkpoint with this cursor.
    pub(super) fn cursor_of<'a>(&'a self, session: SessionId, cursor: &'a str) -> &'a str {
        let reading = self.reading.as_ref().filter(|reading| reading.session == session);
        reading.map_or(cursor, |reading| &reading.cursor)
    }

    /// Bytes that it takes as text, at most.
    pub(super) fn bytes(&self) -> usize {
        let reading = self.reading.as_ref().map_or(0, |reading| reading.cursor.len() + 96);
        80 + 40 * self.taken.len() + 96 * self.left.len() + reading
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { begins, taken, left, reading } = self;
        let taken: Vec<_> = taken.iter().map(SessionId::to_string).collect();
        let left = left.iter().map(|left| json!([left.session.to_string(), left.closed_at]));
        let reading = reading.iter().map(|reading| json!([reading.session.to_string(), reading.cursor]));
        json!({
            "begins": begins,
            "taken": taken,
            "left": left.collect::<Vec<_>>(),
            "reading": reading.collect::<Vec<_>>(),
        })
    }

    /// `None`: it is damaged.
    pub(super) fn from_json(shift: &Value) -> Option<Self> {
        let list = |name: &str| shift[name].as_array();
        let left = |left: &Value| {
            let closed_at = if left[1].is_null() { None } else { Some(left[1].as_u64()?) };
            Some(Left { session: session(&left[0])?, closed_at })
        };
        let reading =
            |reading: &Value| Some(Reading { session: session(&reading[0])?, cursor: reading[1].as_str()?.to_owned() });
        let readings: Option<Vec<_>> = list("reading")?.iter().map(reading).collect();
        Some(Self {
            begins: shift["begins"].as_bool()?,
            taken: list("taken")?.iter().map(session).collect::<Option<_>>()?,
            left: list("left")?.iter().map(left).collect::<Option<_>>()?,
            reading: readings?.pop(),
        })
    }
}

fn session(text: &Value) -> Option<SessionId> {
    u128::from_str_radix(text.as_str()?, 16).ok().map(SessionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_are_read_back() {
        let left = |closed_at| Left { session: SessionId(7), closed_at };
        let reading = Reading { session: SessionId(u128::MAX), cursor: "c1".into() };
        let full = Shift {
            begins: true,
            taken: vec![SessionId(1), SessionId(u128::MAX)],
            left: vec![left(None), left(Some(u64::MAX))],
            reading: Some(reading),
        };
        for shift in [Shift::default(), full] {
            let json = shift.to_json();
            assert!(json.to_string().len() <= shift.bytes(), "{json}");
            assert_eq!(Shift::from_json(&json), Some(shift.clone()));
            // A field that is missing is noticed.
            for field in ["begins", "taken", "left", "reading"] {
                let mut damaged = shift.to_json();
                damaged[field] = Value::Null;
                assert_eq!(Shift::from_json(&damaged), None, "{field}");
            }
        }
    }
}
