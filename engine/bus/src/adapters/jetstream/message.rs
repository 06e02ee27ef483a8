//! An event as a message.
//!
//! | header | value |
//! |---|---|
//! | `Nats-Msg-Id` | log, shard and sequence: [`StoredEvent::dedup_id`] |
//! | `Tapeline-Shard`, `Tapeline-Sequence` | the numbers |
//! | `Tapeline-Timestamp` | nanoseconds since the Unix epoch |
//! | `Tapeline-Session` | 32 hexadecimal digits |
//! | `Tapeline-Session-Name` | the name of the session, if it is known, percent-encoded |
//! | `Tapeline-Kind` | the number |
//!
//! The mapping adds others: constants as they are, and values of the payload percent-encoded.
//!
//! The body is the payload, as it was ingested.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, NATS_MESSAGE_ID};
use async_nats::jetstream::message::PublishMessage;
use tapeline_reader::{EventId, Payload, StoredEvent};
use tapeline_storage::format::{Kind, SessionId};

use crate::core::config::EventMapping;
use crate::core::percent;

const SHARD: HeaderName = HeaderName::from_static("Tapeline-Shard");
const SEQUENCE: HeaderName = HeaderName::from_static("Tapeline-Sequence");
const TIMESTAMP: HeaderName = HeaderName::from_static("Tapeline-Timestamp");
const SESSION: HeaderName = HeaderName::from_static("Tapeline-Session");
const SESSION_NAME: HeaderName = HeaderName::from_static("Tapeline-Session-Name");
const KIND: HeaderName = HeaderName::from_static("Tapeline-Kind");

/// The message of an event.
pub(super) fn of(event: &StoredEvent, mapping: &EventMapping) -> PublishMessage {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, event.dedup_id());
    headers.insert(SHARD, event.shard_id.to_string());
    headers.insert(SEQUENCE, event.sequence.get().to_string());
    headers.insert(TIMESTAMP, event.insertion_ts.to_string());
    headers.insert(SESSION, event.session.to_string());
    if let Some(name) = event.session_name() {
        headers.insert(SESSION_NAME, percent::encoded(name));
    }
    headers.insert(KIND, event.kind.0.to_string());
    for (name, value) in &mapping.constants {
        headers.insert(&**name, &**value);
    }
    for (name, value) in mapping.values_of(event) {
        headers.insert(name, percent::encoded(&value));
    }
    PublishMessage::build().headers(headers).payload(event.raw.clone().into_bytes())
}

/// The event of a message. `None`: it is none of Tapeline.
pub(super) fn event(headers: Option<&HeaderMap>, payload: Payload) -> Option<StoredEvent> {
    let headers = headers?;
    let text = |name: HeaderName| headers.get(name).map(|value| value.as_str());
    let id: EventId = text(NATS_MESSAGE_ID)?.parse().ok()?;
    Some(StoredEvent {
        id,
        raw: payload,
        insertion_ts: text(TIMESTAMP)?.parse().ok()?,
        shard_id: id.shard_id,
        sequence: id.sequence,
        session: SessionId(u128::from_str_radix(text(SESSION)?, 16).ok()?),
        kind: Kind(text(KIND)?.parse().ok()?),
        name: text(SESSION_NAME).and_then(percent::decoded).map(Into::into),
    })
}
