//! Lines: cut at each line feed, which stays with its line, and the session that a line names.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::split::Cutter;
use crate::sse::End;

/// Cuts after each line feed.
#[derive(Debug, Default)]
pub(super) struct Lines {
    looked: usize,
}

impl Cutter for Lines {
    fn end(&mut self, bytes: &[u8], _ended: bool) -> Option<End> {
        match memchr::memchr(b'\n', &bytes[self.looked..]) {
            Some(more) => {
                let bytes = self.looked + more + 1;
                self.looked = 0;
                Some(End { bytes, lines: 1 })
            }
            None => {
                self.looked = bytes.len();
                None
            }
        }
    }
}

/// Name of the session that `line` belongs to: the value of its field `field`. One pass that checks the line and keeps
/// nothing else of it; of two fields of that name, the last counts.
///
/// # Errors
/// What is wrong with the line, to be read after its place.
pub(super) fn session_name(line: &[u8], field: &str) -> Result<String, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Field(field).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    // The reader's own line is always 1 here.
    match value.map_err(|error| format!("not a JSON object: {error}"))? {
        Some(Value::String(name)) if name.is_empty() => Err(format!("field {field:?} is empty")),
        Some(Value::String(name)) => Ok(name),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(other) => Err(format!("field {field:?} is {other}, neither a string nor a number")),
        None => Err(format!("no field {field:?}")),
    }
}

/// The value of one field of an object.
struct Field<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(Is(self.0))? {
            match is_wanted {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
