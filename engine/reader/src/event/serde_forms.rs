//! Events as serde_json writes and reads them.
//!
//! JSON payloads are embedded as raw values: no number is rounded and no key is moved. Formats other than JSON know no
//! raw value and refuse it, or write something of their own.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error, Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;

use super::{Event, RawEvent, StoredEvent};

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = std::str::from_utf8(self.as_bytes()).map_err(S::Error::custom)?;
        embedded(json).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json: Box<str> = Box::<RawValue>::deserialize(deserializer)?.into();
        Ok(Self(RawEvent::from_bytes(json.into_string())))
    }
}

impl Serialize for StoredEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("StoredEvent", 7 + usize::from(self.name.is_some()))?;
        object.serialize_field("id", &self.id)?;
        match std::str::from_utf8(&self.raw) {
            Err(_) => object.serialize_field("raw_bytes", &self.raw[..])?,
            Ok(text) => match embedded(text) {
                Ok(json) => object.serialize_field("raw", &json)?,
                Err(_) => object.serialize_field("raw_text", text)?,
            },
        }
        object.serialize_field("insertion_ts", &self.insertion_ts)?;
        object.serialize_field("shard_id", &self.shard_id)?;
        object.serialize_field("sequence", &self.sequence.get())?;
        object.serialize_field("session", &self.session.to_string())?;
        if let Some(name) = self.session_name() {
            object.serialize_field("session_name", name)?;
        }
        object.serialize_field("kind", &self.kind.0)?;
        object.end()
    }
}

/// JSON text as a raw value of one line. Within a string a line end is escaped, so every one here is space between
/// tokens.
fn embedded(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let line: Cow<'_, str> =
        if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ").into() } else { text.into() };
    RawValue::from_string(line.trim().to_owned())
}
