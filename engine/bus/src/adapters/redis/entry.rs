//! An event as the fields of an entry of a stream.
//!
//! | field | value |
//! |---|---|
//! | `dedup_id` | log, shard and sequence: [`StoredEvent::dedup_id`] |
//! | `ts` | nanoseconds since the Unix epoch |
//! | `session` | 32 hexadecimal digits |
//! | `session_name` | the name of the session, if it is known |
//! | `kind` | the number |
//! | `payload` | the bytes as they were ingested |
//!
//! The mapping adds others, which are not read back.

use redis::Value;
use tapeline_reader::{AdapterError, AdapterResult, EventId, StoredEvent};
use tapeline_storage::format::{Kind, Sequence, SessionId};

use crate::core::config::EventMapping;

/// The fields of an entry, by name.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The fields of an event.
pub(super) struct Entry<'e>(&'e StoredEvent);

/// The id of an event's entry: Redis has no id of zeros.
pub(super) fn id_of(sequence: Sequence) -> String {
    format!("{}-0", sequence.get() + 1)
}

/// The number of an entry: its event's sequence, and one. `None`: it is none of an event in order.
pub(super) fn number_of(id: &str) -> Option<u64> {
    id.strip_suffix("-0")?.parse().ok()
}

impl<'e> Entry<'e> {
    pub(super) fn of(event: &'e StoredEvent) -> Self {
        Self(event)
    }

    pub(super) fn write(&self, command: &mut redis::Cmd, mapping: &EventMapping) {
        let event = self.0;
        command.arg("dedup_id").arg(event.dedup_id());
        command.arg("ts").arg(event.insertion_ts);
        command.arg("session").arg(event.session.to_string());
        if let Some(name) = event.session_name() {
            command.arg("session_name").arg(name);
        }
        command.arg("kind").arg(event.kind.0);
        for (name, value) in &mapping.constants {
            command.arg(name).arg(value);
        }
        for (name, value) in mapping.values_of(event) {
            command.arg(name).arg(value);
        }
        command.arg("payload").arg(&event.raw[..]);
    }
}

/// The entries in the answer to `XRANGE`.
pub(super) fn entries(answer: Value) -> Vec<(String, Fields)> {
    let Value::Array(entries) = answer else { return Vec::new() };
    entries.into_iter().filter_map(entry).collect()
}

fn entry(entry: Value) -> Option<(String, Fields)> {
    let Value::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let id = String::from_utf8(bytes(parts.next()?)?).ok()?;
    let Value::Array(values) = parts.next()? else { return None };
    let mut values = values.into_iter();
    let mut fields = Fields::new();
    while let Some(name) = values.next() {
        fields.push((bytes(name)?, bytes(values.next()?)?));
    }
    Some((id, fields))
}

/// The next cursor and the keys in the answer to `SCAN`. An answer of another form is the last one.
pub(super) fn scanned(answer: Value) -> (Vec<u8>, Vec<String>) {
    let last = || (b"0".to_vec(), Vec::new());
    let Value::Array(parts) = answer else { return last() };
    let mut parts = parts.into_iter();
    let (Some(cursor), Some(Value::Array(keys))) = (parts.next().and_then(bytes), parts.next()) else { return last() };
    (cursor, keys.into_iter().filter_map(bytes).filter_map(|key| String::from_utf8(key).ok()).collect())
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// The event of an entry.
///
/// # Errors
/// [`AdapterError::Denied`]: it is none of Tapeline.
pub(super) fn event_of(stream: &str, id: &str, fields: &Fields) -> AdapterResult<StoredEvent> {
    let foreign = || AdapterError::Denied(format!("entry {id} of stream {stream} is no event of Tapeline"));
    event(fields).ok_or_else(foreign)
}

/// The event of an entry. `None`: it is none of Tapeline.
pub(super) fn event(fields: &Fields) -> Option<StoredEvent> {
    let text = |name: &str| text(fields, name);
    let id: EventId = text("dedup_id")?.parse().ok()?;
    Some(StoredEvent {
        id,
        raw: value(fields, "payload")?.to_vec().into(),
        insertion_ts: text("ts")?.parse().ok()?,
        shard_id: id.shard_id,
        sequence: id.sequence,
        session: SessionId(u128::from_str_radix(text("session")?, 16).ok()?),
        kind: Kind(text("kind")?.parse().ok()?),
        name: text("session_name").map(Into::into),
    })
}

/// The value of a field, where that is text.
pub(super) fn text<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    std::str::from_utf8(value(fields, name)?).ok()
}

fn value<'f>(fields: &'f Fields, name: &str) -> Option<&'f [u8]> {
    fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| value.as_slice())
}
