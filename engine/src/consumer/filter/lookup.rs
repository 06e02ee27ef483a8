//! All paths of a filter looked up in one reading of a payload.
//!
//! The paths form a tree of keys. The payload is read once from end to end; where its keys meet the tree, the tests of
//! that place run and leave a bit each, everything else is skipped. Bits are zero until a test holds, so a path that
//! leads nowhere needs no work. Of repeated keys the last counts: meeting a key clears the bits below it first.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::field::{Field, Found, Test};
use super::{NODES_MAX, path};

const WORDS: usize = NODES_MAX.div_ceil(64);

/// Which tests hold, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Held([u64; WORDS]);

impl Held {
    #[inline]
    pub(super) fn has(&self, test: usize) -> bool {
        self.0[test / 64] >> (test % 64) & 1 == 1
    }

    #[inline]
    fn insert(&mut self, test: usize) {
        self.0[test / 64] |= 1 << (test % 64);
    }

    #[inline]
    fn remove(&mut self, tests: &Held) {
        for (word, tests) in self.0.iter_mut().zip(&tests.0) {
            *word &= !tests;
        }
    }
}

/// A place that paths lead to or through.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    tests: Vec<(usize, Test)>,
    /// Sorted by key.
    keys: Vec<(String, Lookup)>,
    /// Places in an array, and which of `keys` they are; sorted. `1` and `01` are one place.
    elements: Vec<(usize, usize)>,
    /// The tests here and below.
    below: Held,
    /// Whether a test here looks into arrays and objects.
    whole: bool,
}

impl Lookup {
    /// The tree of the paths. Tests are numbered in their order; there are at most [`NODES_MAX`].
    pub(super) fn new(fields: Vec<&Field>) -> Self {
        let mut root = Self::default();
        for (number, field) in fields.into_iter().enumerate() {
            root.insert(number, field);
        }
        root.index();
        root
    }

    fn insert(&mut self, number: usize, field: &Field) {
        let mut place = self;
        place.below.insert(number);
        for segment in path::segments(&field.path) {
            place = place.child(segment);
            place.below.insert(number);
        }
        place.whole |= field.test.wants_whole();
        place.tests.push((number, field.test.clone()));
    }

    fn child(&mut self, segment: &str) -> &mut Lookup {
        let at = match self.keys.binary_search_by(|(key, _)| key.as_str().cmp(segment)) {
            Ok(at) => at,
            Err(at) => {
                self.keys.insert(at, (segment.to_owned(), Lookup::default()));
                at
            }
        };
        &mut self.keys[at].1
    }

    /// Finds the places in arrays among the keys, here and below.
    fn index(&mut self) {
        let places = self.keys.iter().enumerate().filter_map(|(at, (key, _))| Some((path::index_of(key)?, at)));
        self.elements = places.collect();
        self.elements.sort_unstable();
        self.keys.iter_mut().for_each(|(_, lookup)| lookup.index());
    }

    /// Runs the tests on a payload; `None` where it is not JSON.
    pub(super) fn read(&self, payload: &[u8]) -> Option<Held> {
        // The parser checks only the strings that it hands out.
        let text = std::str::from_utf8(payload).ok()?;
        let mut held = Held::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Reading { lookup: self, held: &mut held }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(held)
    }

    #[inline]
    fn test(&self, found: &Found<'_>, held: &mut Held) {
        for (number, test) in &self.tests {
            if test.holds(found) {
                held.insert(*number);
            }
        }
    }

    /// The same for a value that had to be built.
    fn walk(&self, value: &Value, held: &mut Held) {
        self.test(&Found::of(value), held);
        for (key, lookup) in &self.keys {
            if let Some(value) = path::step(value, key) {
                lookup.walk(value, held);
            }
        }
    }

    #[inline]
    fn at_key(&self, key: &str) -> Option<&Lookup> {
        match self.keys.as_slice() {
            [(only, lookup)] => (only == key).then_some(lookup),
            keys => keys.binary_search_by(|(other, _)| other.as_str().cmp(key)).ok().map(|at| &keys[at].1),
        }
    }
}

/// A value about to be read for the tests of its place and below.
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
                [(place, _), ..] if *place != index => array.next_element::<IgnoredAny>()?.is_some(),
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
            let lookup = &self.lookup.keys[*only].1;
            return Reading { lookup, held: self.held }.deserialize(deserializer);
        }
        let value = Value::deserialize(deserializer)?;
        self.keys.iter().for_each(|(_, key)| self.lookup.keys[*key].1.walk(&value, self.held));
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
