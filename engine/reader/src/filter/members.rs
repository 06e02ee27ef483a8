//! One level of JSON: the members of an object or the elements of an array, each still as text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{FilterError, TermPath};

/// An object's keys and values as they come.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(super) fn of(raw: &'a RawValue, at: &TermPath<'_>) -> Result<Self, FilterError> {
        parse(raw, at, "an object")
    }

    pub(super) fn entries(&self) -> &[(String, &'a RawValue)] {
        &self.0
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(other, _)| other == key)
    }

    pub(super) fn required(&self, key: &str, at: &TermPath<'_>) -> Result<&'a RawValue, FilterError> {
        let mut found = self.0.iter().filter(|(other, _)| other == key);
        match (found.next(), found.next()) {
            (Some((_, raw)), None) => Ok(raw),
            (None, _) => Err(at.invalid(format!("{key} is missing"))),
            (Some(_), Some(_)) => Err(at.invalid(format!("{key} is there twice"))),
        }
    }

    pub(super) fn only(&self, known: &[&str], at: &TermPath<'_>) -> Result<(), FilterError> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(at.key(key).invalid(format!("unknown key; expected {}", known.join(", ")))),
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
    at: &TermPath<'_>,
    what: &str,
) -> Result<T, FilterError> {
    serde_json::from_str(raw.get()).map_err(|_| at.invalid(format!("expected {what}")))
}

/// Reads the elements of an array, or the one thing that stands in place of it.
pub(super) fn each<T>(
    raw: &RawValue,
    at: &TermPath<'_>,
    mut read: impl FnMut(&RawValue, TermPath<'_>) -> Result<T, FilterError>,
) -> Result<Vec<T>, FilterError> {
    if !is_array(raw) {
        return Ok(vec![read(raw, *at)?]);
    }
    let elements: Vec<&RawValue> = parse(raw, at, "an array")?;
    elements.into_iter().enumerate().map(|(index, raw)| read(raw, at.index(index))).collect()
}

pub(super) fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}
