//! One reading of a payload, in step with the tree of paths that a filter looks at.
//!
//! The payload is read once from end to end; where its keys meet the tree, the tests of that path run, everything else
//! is skipped without recursion. Of repeated keys the last counts: meeting a key clears the bits below it first.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::field::Found;
use super::frame::data_of;
use super::held::Held;
use super::lookup::Lookup;

/// Runs the tests on a payload; `None` where neither it nor the data of the server-sent event that it is are JSON.
pub(super) fn read(lookup: &Lookup, payload: &[u8]) -> Option<Held> {
    let data = data_of(payload);
    // The parser checks only the strings that it hands out.
    let text = std::str::from_utf8(data.as_deref().unwrap_or(payload)).ok()?;
    let mut held = Held::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Reading { lookup, held: &mut held }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(held)
}

/// A value about to be read for the tests of its path and those below.
struct Reading<'a> {
    lookup: &'a Lookup,
    held: &'a mut Held,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.lookup.test(&Found::Null, self.held);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.lookup.test(&Found::Bool(value), self.held);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.lookup.test(&Found::Number(value.into()), self.held);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.lookup.test(&Found::Number(value.into()), self.held);
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // As a `Value` takes it: what is not finite is null. The parser refuses such numbers.
        let found = Number::from_f64(value).map_or(Found::Null, Found::Number);
        self.lookup.test(&found, self.held);
        Ok(())
    }

    #[inline]
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.lookup.test(&Found::Text(value), self.held);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        if self.lookup.whole {
            let value = Value::deserialize(SeqAccessDeserializer::new(array))?;
            self.lookup.walk(&value, self.held);
            return Ok(());
        }
        self.lookup.test(&Found::Unread, self.held);
        let mut wanted = self.lookup.elements.chunk_by(|left, right| left.0 == right.0).peekable();
        let mut index = 0;
        while let Some(keys) = wanted.peek() {
            let more = match keys {
                [(wanted, _), ..] if *wanted != index => array.next_element::<IgnoredAny>()?.is_some(),
                keys => {
                    let element = Element { lookup: self.lookup, keys, held: self.held };
                    wanted.next();
                    array.next_element_seed(element)?.is_some()
                }
            };
            if !more {
                return Ok(());
            }
            index += 1;
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.lookup.whole {
            let value = Value::deserialize(MapAccessDeserializer::new(map))?;
            self.lookup.walk(&value, self.held);
            return Ok(());
        }
        self.lookup.test(&Found::Unread, self.held);
        while let Some(lookup) = map.next_key_seed(Key(self.lookup))? {
            match lookup {
                None => _ = map.next_value::<IgnoredAny>()?,
                Some(lookup) => {
                    self.held.remove(&lookup.below);
                    map.next_value_seed(Reading { lookup, held: self.held })?;
                }
            }
        }
        Ok(())
    }
}

/// An element that one or more segments name.
struct Element<'a> {
    lookup: &'a Lookup,
    keys: &'a [(usize, usize)],
    held: &'a mut Held,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if let [(_, only)] = self.keys {
            let lookup = &self.lookup.element(*only);
            return Reading { lookup, held: self.held }.deserialize(deserializer);
        }
        let value = Value::deserialize(deserializer)?;
        self.keys.iter().for_each(|(_, key)| self.lookup.element(*key).walk(&value, self.held));
        Ok(())
    }
}

/// A key about to be read, compared where it lies.
struct Key<'a>(&'a Lookup);

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Lookup>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a Lookup>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.at_key(key))
    }
}
