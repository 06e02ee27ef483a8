//! One level of JSON: the members of an object or the elements of an array, each still as text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{FilterError, Place};

/// An object's keys and values as they come.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(super) fn of(raw: &'a RawValue, place: &Place<'_>) -> Result<Self, FilterError> {
        parse(raw, place, "an object")
    }

    pub(super) fn entries(&self) -> &[(String, &'a RawValue)] {
        &self.0
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(other, _)| other == key)
    }

    pub(super) fn required(&self, key: &str, place: &Place<'_>) -> Result<&'a RawValue, FilterError> {
        let mut found = self.0.iter().filter(|(other, _)| other == key);
        match (found.next(), found.next()) {
            (Some((_, raw)), None) => Ok(raw),
            (None, _) => Err(place.invalid(format!("{key} is missing"))),
            (Some(_), Some(_)) => Err(place.invalid(format!("{key} is there twice"))),
        }
    }

    pub(super) fn only(&self, known: &[&str], place: &Place<'_>) -> Result<(), FilterError> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(place.key(key).invalid(format!("unknown key; expected {}", known.join(", ")))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    place: &Place<'_>,
    what: &str,
) -> Result<T, FilterError> {
    serde_json::from_str(raw.get()).map_err(|_| place.invalid(format!("expected {what}")))
}

/// Reads the elements of an array, or the one thing that stands in its place.
pub(super) fn each<T>(
    raw: &RawValue,
    place: &Place<'_>,
    mut read: impl FnMut(&RawValue, Place<'_>) -> Result<T, FilterError>,
) -> Result<Vec<T>, FilterError> {
    if !is_array(raw) {
        return Ok(vec![read(raw, *place)?]);
    }
    let elements: Vec<&RawValue> = parse(raw, place, "an array")?;
    elements.into_iter().enumerate().map(|(index, raw)| read(raw, place.index(index))).collect()
}

pub(super) fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}
